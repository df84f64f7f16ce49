//! A complete Socket.IO server: Engine.IO v4 and Socket.IO v5, for axum, hyper and tower.
#![doc = include_str!("../../../docs/guide/overview.md")]

mod admission;
mod broadcast;
mod config;
mod error;
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

pub use self::{
    broadcast::{Answers, Broadcast, SocketInfo},
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
