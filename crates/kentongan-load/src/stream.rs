//! A TCP connection that never blocks.

use std::io::{self, Read, Write};

use mio::{Interest, Registry, Token, net::TcpStream};
use socket2::{Domain, Protocol, Socket, Type};

use crate::target::Target;

/// A connection, registered for reading and writing.
#[derive(Debug)]
pub(crate) struct Stream {
    tcp: TcpStream,
    /// What could not be written yet.
    unsent: Vec<u8>,
    connected: bool,
}

/// How a read ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Got {
    /// That many bytes; the kernel has no more for now if it is less than asked for.
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
        })
    }

    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Got> {
        loop {
            return match self.tcp.read(buffer) {
                Ok(0) => Ok(Got::End),
                Ok(len) => Ok(Got::Bytes(len)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Got::Nothing),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
        }
    }

    /// Writes all of it, now or when the kernel takes more.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
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

fn write_some(tcp: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut taken = 0;
    while taken < bytes.len() {
        match tcp.write(&bytes[taken..]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(len) => taken += len,
            // Not connected yet is the same to us: the rest follows when it is writable.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected
                ) =>
            {
                break;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(taken)
}

/// `EINPROGRESS` on Linux.
const IN_PROGRESS: i32 = rustix::io::Errno::INPROGRESS.raw_os_error();
