//! A TCP connection that never blocks, with or without TLS.

use std::io::{self, Read, Write};

use mio::{Interest, Registry, Token, net::TcpStream};
use rustls::ClientConnection;
use socket2::{Domain, Protocol, Socket, Type};

use crate::target::Target;

/// A connection, registered for reading and writing.
#[derive(Debug)]
pub(crate) struct Stream {
    tcp: TcpStream,
    /// What could not be written yet.
    unsent: Vec<u8>,
    connected: bool,
    tls: Option<Box<ClientConnection>>,
}

/// How a read ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Got {
    /// That many bytes. Without TLS: if it is less than asked for, the kernel has no more for now.
    Bytes(usize),
    /// Nothing now.
    Nothing,
    /// The peer is done.
    End,
}

impl Stream {
    pub(crate) fn connect(
        target: &Target,
        index: usize,
        token: Token,
        registry: &Registry,
    ) -> io::Result<Self> {
        let socket = Socket::new(
            Domain::for_address(target.addr),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        if let Some(source) = target.source(index) {
            socket.bind(&source.into())?;
        }
        match socket.connect(&target.addr.into()) {
            Err(error) if error.raw_os_error() != Some(IN_PROGRESS) => return Err(error),
            _ => {}
        }
        let mut tcp = TcpStream::from_std(socket.into());
        registry.register(&mut tcp, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self {
            tcp,
            unsent: Vec::new(),
            connected: false,
            tls: match &target.tls {
                Some(tls) => Some(Box::new(tls.connect().map_err(io::Error::other)?)),
                None => None,
            },
        })
    }

    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Got> {
        let Some(tls) = &mut self.tls else {
            return got(|| self.tcp.read(buffer));
        };
        loop {
            match got(|| tls.reader().read(buffer))? {
                Got::Nothing => {}
                got => return Ok(got),
            }
            match got(|| tls.read_tls(&mut self.tcp))? {
                Got::Bytes(_) => {}
                got => return Ok(got),
            }
            tls.process_new_packets().map_err(io::Error::other)?;
            write_tls(&mut self.tcp, tls)?;
        }
    }

    /// Whether a short read says nothing about what is still to come.
    pub(crate) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Writes all of it, now or when the kernel takes more.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            tls.writer().write_all(bytes)?;
            return write_tls(&mut self.tcp, tls);
        }
        if !self.unsent.is_empty() {
            self.unsent.extend_from_slice(bytes);
            return Ok(());
        }
        let taken = write_some(&mut self.tcp, bytes)?;
        self.unsent.extend_from_slice(&bytes[taken..]);
        Ok(())
    }

    /// The kernel takes more, or the connection is there.
    pub(crate) fn writable(&mut self) -> io::Result<()> {
        if !self.connected {
            if let Some(error) = self.tcp.take_error()? {
                return Err(error);
            }
            self.connected = true;
        }
        if let Some(tls) = &mut self.tls {
            return write_tls(&mut self.tcp, tls);
        }
        if self.unsent.is_empty() {
            return Ok(());
        }
        let taken = write_some(&mut self.tcp, &self.unsent)?;
        self.unsent.drain(..taken);
        if self.unsent.is_empty() {
            self.unsent = Vec::new();
        }
        Ok(())
    }
}

fn got(mut read: impl FnMut() -> io::Result<usize>) -> io::Result<Got> {
    loop {
        return match read() {
            Ok(0) => Ok(Got::End),
            Ok(len) => Ok(Got::Bytes(len)),
            Err(error) if is_later(&error) => Ok(Got::Nothing),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
    }
}

fn write_tls(tcp: &mut TcpStream, tls: &mut ClientConnection) -> io::Result<()> {
    while tls.wants_write() {
        match tls.write_tls(tcp) {
            Ok(_) => {}
            Err(error) if is_later(&error) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Not connected yet is the same to us as a full buffer: the rest follows when it is writable.
fn is_later(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected
    )
}

fn write_some(tcp: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut taken = 0;
    while taken < bytes.len() {
        match tcp.write(&bytes[taken..]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(len) => taken += len,
            Err(error) if is_later(&error) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(taken)
}

/// `EINPROGRESS` on Linux.
const IN_PROGRESS: i32 = rustix::io::Errno::INPROGRESS.raw_os_error();
