//! A complete Socket.IO server: Engine.IO v4 and Socket.IO v5, for axum, hyper and tower.
#![doc = include_str!("../../../docs/guide/overview.md")]

mod adapter;
mod admission;
mod broadcast;
mod config;
mod error;
pub mod guide;
mod handler;
mod handshake;
mod http;
mod id;
mod metrics;
mod namespace;
mod reason;
mod recovery;
mod server;
mod session;
mod socket;

pub use bytestring::ByteString;
pub use kentongan_protocol::socket::{
    args::{Args, ArgsError, FromArgs, IntoArgs},
    value::Value,
};

/// The version of rustls that [`Tls`] takes the config of.
#[cfg(feature = "tls")]
pub use tokio_rustls::rustls;

#[cfg(feature = "tls")]
pub use self::http::tls::{Tls, TlsError};
pub use self::{
    adapter::{
        Adapter, AdapterError, Inbox, Missing, MissingNode, Signal,
        codec::{
            CLUSTER_VERSION, ClusterDecodeError, decode as decode_cluster_message,
            encode as encode_cluster_message,
        },
        config::{ClusterConfig, ClusterLimits},
        memory::{MemoryAdapter, MemoryCluster, MemoryLimits},
        message::{
            AckRequest, Answer, Audience, Body as ClusterBody, ClusterMessage, DisconnectScope,
            Fault, Flags, InvalidName, NodeId, RequestId, SocketRecord,
        },
        remote::{AnySocket, FetchedSockets, RemoteSocket, SocketInfo},
        server_event::{IntoServerReply, NodeAnswerError, NodeAnswers, ServerEvent},
    },
    broadcast::{Answers, Broadcast, Paced, Reached},
    config::{
        BodyRate, Config, ConfigError, Cookie, Deflate, HandshakeRetention, HeldLimits, IpNet,
        Limits, Parser, Rate, RateLimits, SameSite, Transports, UnauthenticatedLimits,
    },
    error::{AckError, EmitError, JoinError, Refusal},
    handler::{
        Handler, IntoReply, ListenerId, Middleware, Reply,
        extract::{Ack, Auth, Context, Data, EventName, FromContext, Invalid, RoomsLeft, TryData},
    },
    handshake::{Handshake, PeerAddr},
    http::{
        bundles::{ClientBundles, ClientBundlesError},
        cors::{Cors, Origins},
        hooks::{AllowRequest, ChangeHeaders, HttpHooks},
        reply::Body,
        serve::{NotFound, ServeConfig},
        service::{SocketIoLayer, SocketIoOr, SocketIoService},
    },
    id::{InvalidSid, Sid, SidText},
    metrics::{Metrics, MetricsSnapshot, RefusalCode},
    namespace::{
        Namespace,
        behaviour::{RoomEvent, RoomEventKind},
    },
    reason::DisconnectReason,
    recovery::{POSITION_EVENT, Recovery, RecoveryConfig},
    server::{DynamicNamespaces, RawServer, Server},
    session::raw::{RawHandler, RawMessage, RawSession},
    socket::{Socket, emit::SocketEmit},
};
