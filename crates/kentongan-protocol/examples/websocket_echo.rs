//! An echo server over this crate's WebSocket codec, one blocking thread per connection.
//!
//! It is the peer of the conformance suite in `conformance/autobahn`, and the shortest use of the codec: handshake,
//! decoder, encoder. No deadlines and no limit on connections, so it is for the loopback only.
//!
//! `websocket_echo [--listen 127.0.0.1:0] [--deflate]`

use std::{
    error::Error,
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
};

use bytes::BytesMut;
use kentongan_protocol::{
    limits::Limits,
    websocket::{
        Opcode,
        decode::{Decoder, Incoming, Role},
        deflate, encode,
        handshake::{self, DeflateParams, Handshake},
    },
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut listen = "127.0.0.1:0".to_owned();
    let mut deflate = false;
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--listen" => listen = args.next().ok_or("--listen needs an address")?,
            "--deflate" => deflate = true,
            other => return Err(format!("unknown argument {other}").into()),
        }
    }
    let listener = TcpListener::bind(listen)?;
    println!("listening on {}", listener.local_addr()?);
    for stream in listener.incoming() {
        let stream = stream?;
        std::thread::spawn(move || {
            // A peer that goes away in the middle is the suite's daily bread.
            let _gone = serve(stream, deflate);
        });
    }
    Ok(())
}

fn serve(mut stream: TcpStream, deflate: bool) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let Some((handshake, early)) = shake_hands(&mut stream, deflate)? else {
        return Ok(());
    };
    let mut echo = Echo {
        decoder: Decoder::new(Role::Server, handshake.deflate.is_some()),
        deflate: handshake.deflate,
        limits: limits(),
        out: BytesMut::new(),
    };
    let mut buffer = vec![0; 64 * 1024];
    // Frames may come in the same segment as the request.
    let mut len = early.len();
    buffer[..len].copy_from_slice(&early);
    loop {
        let is_open = echo.feed(&mut buffer[..len]);
        stream.write_all(&echo.out)?;
        echo.out.clear();
        if !is_open {
            stream.shutdown(std::net::Shutdown::Write)?;
            // Reading to the end avoids a reset, which could overtake the close frame.
            return io::copy(&mut stream, &mut io::sink()).map(drop);
        }
        len = stream.read(&mut buffer)?;
        if len == 0 {
            return Ok(());
        }
    }
}

/// Reads the request and answers it. Returns the bytes behind it, or nothing if the request was refused.
fn shake_hands(stream: &mut TcpStream, deflate: bool) -> io::Result<Option<(Handshake, Vec<u8>)>> {
    let mut request = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let len = stream.read(&mut piece)?;
        request.extend_from_slice(&piece[..len]);
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut parsed = httparse::Request::new(&mut headers);
        let end = match parsed.parse(&request) {
            Ok(httparse::Status::Complete(end)) => end,
            Ok(httparse::Status::Partial) if len > 0 && request.len() < 16 * 1024 => continue,
            _ => return Ok(None),
        };
        let fields = parsed
            .headers
            .iter()
            .map(|header| (header.name, header.value));
        return match handshake::validate(fields, deflate) {
            Ok(handshake) => {
                stream.write_all(switching_protocols(&handshake).as_bytes())?;
                Ok(Some((handshake, request.split_off(end))))
            }
            Err(error) => {
                let (status, code) = (error.status(), error.code());
                write!(
                    stream,
                    "HTTP/1.1 {status} Refused\r\nSec-WebSocket-Version: 13\r\n\r\n{code}"
                )?;
                Ok(None)
            }
        };
    }
}

fn switching_protocols(handshake: &Handshake) -> String {
    let mut response =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            .to_owned();
    response += &format!(
        "Server: kentongan-protocol\r\nSec-WebSocket-Accept: {}\r\n",
        handshake.accept
    );
    if let Some(protocol) = &handshake.protocol {
        response += &format!("Sec-WebSocket-Protocol: {protocol}\r\n");
    }
    if let Some(deflate) = handshake.deflate {
        response += &format!("Sec-WebSocket-Extensions: {deflate}\r\n");
    }
    response + "\r\n"
}

/// The suite sends messages of 16 MiB, and 4 MiB in fragments of 64 bytes.
fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.message_bytes_max = 32 << 20;
    limits.fragments_max = 1 << 17;
    limits
}

/// One connection: what was decoded, and what is to be written.
struct Echo {
    decoder: Decoder,
    deflate: Option<DeflateParams>,
    limits: Limits,
    out: BytesMut,
}

impl Echo {
    /// Answers what is in `input`; false once the connection is over.
    fn feed(&mut self, input: &mut [u8]) -> bool {
        let mut feed = self.decoder.feed(input, &self.limits);
        while let Some(item) = feed.next() {
            match item {
                Ok(Incoming::Text(text)) => {
                    reply(Opcode::Text, text.as_bytes(), self.deflate, &mut self.out)
                }
                Ok(Incoming::Binary(bytes)) => {
                    reply(Opcode::Binary, bytes, self.deflate, &mut self.out)
                }
                Ok(Incoming::Ping(payload)) => self.out.extend_from_slice(&encode::pong(payload)),
                Ok(Incoming::Pong(_)) => {}
                Ok(Incoming::Close { code, .. }) => {
                    self.out.extend_from_slice(&encode::close(code, ""));
                    return false;
                }
                Err(error) => {
                    self.out
                        .extend_from_slice(&encode::close(Some(error.close_code()), error.code()));
                    return false;
                }
            }
        }
        true
    }
}

fn reply(opcode: Opcode, payload: &[u8], deflate: Option<DeflateParams>, out: &mut BytesMut) {
    match deflate {
        Some(params) => {
            let compressed = deflate::compress(payload, params.server_max_window_bits);
            encode::frame(opcode, true, true, &compressed, None, out);
        }
        None => encode::message(opcode, payload, out),
    }
}
