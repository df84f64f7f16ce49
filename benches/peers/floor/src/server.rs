//! The loop, and all connections in one table.

use std::{
    collections::HashMap,
    io::{self, Read as _, Write as _},
    net::{TcpListener, TcpStream},
};

use messages::{Handshake, Hub, Then, Turn, handshake};
use rustix::{
    buffer::spare_capacity,
    event::epoll::{self, CreateFlags, EventData, EventFlags},
};

const READ_BYTES: usize = 64 * 1024;
const EVENTS_MAX: usize = 512;
const LISTENER: u64 = u64::MAX;

/// Accepts and serves until an error of the listener or of epoll.
pub(crate) fn run(listener: &TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let mut server = Server {
        poll: epoll::create(CreateFlags::CLOEXEC)?,
        connections: Vec::new(),
        free: Vec::new(),
        rooms: HashMap::new(),
        members: Vec::new(),
    };
    epoll::add(
        &server.poll,
        listener,
        EventData::new_u64(LISTENER),
        EventFlags::IN,
    )?;
    let mut events = Vec::with_capacity(EVENTS_MAX);
    let mut buffer = vec![0; READ_BYTES];
    let mut turn = Turn::default();
    loop {
        events.clear();
        match epoll::wait(&server.poll, spare_capacity(&mut events), None) {
            Err(rustix::io::Errno::INTR) => continue,
            result => result?,
        };
        for event in &events {
            let (data, flags) = (event.data, event.flags);
            if data.u64() == LISTENER {
                server.accept(listener)?;
                continue;
            }
            let Ok(key) = usize::try_from(data.u64()) else {
                continue;
            };
            if flags.contains(EventFlags::OUT) {
                server.flush(key);
            }
            if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
                server.read(key, &mut buffer, &mut turn);
            }
        }
    }
}

struct Server {
    poll: rustix::fd::OwnedFd,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    /// From a room's name to its number, by which its members are found.
    rooms: HashMap<Box<[u8]>, u32>,
    members: Vec<Vec<u32>>,
}

struct Connection {
    stream: TcpStream,
    is_websocket: bool,
    /// The start of a frame whose rest has not arrived. Almost always empty, so it holds no memory.
    partial: Vec<u8>,
    /// What the socket did not take.
    unsent: Vec<u8>,
    rooms: Vec<u32>,
}

impl Server {
    fn accept(&mut self, listener: &TcpListener) -> io::Result<()> {
        loop {
            let stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let key = self.free.pop().unwrap_or(self.connections.len());
            epoll::add(
                &self.poll,
                &stream,
                EventData::new_u64(key as u64),
                EventFlags::IN,
            )?;
            if key == self.connections.len() {
                self.connections.push(None);
            }
            self.connections[key] = Some(Connection {
                stream,
                is_websocket: false,
                partial: Vec::new(),
                unsent: Vec::new(),
                rooms: Vec::new(),
            });
        }
    }

    fn read(&mut self, key: usize, buffer: &mut [u8], turn: &mut Turn) {
        let Some(connection) = self.connections.get_mut(key).and_then(Option::as_mut) else {
            return;
        };
        let kept = connection.partial.len();
        // A frame that is larger than the buffer is none of ours.
        let read = match buffer.get_mut(kept..) {
            Some([]) | None => Ok(0),
            Some(space) => connection.stream.read(space),
        };
        let length = match read {
            Ok(0) => return self.close(key),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(_) => return self.close(key),
        };
        buffer[..kept].copy_from_slice(&connection.partial);
        let input = &mut buffer[..kept + length];
        turn.answers.clear();
        let (taken, then) = self.take(key, input, turn);
        if let Some(connection) = self.connections.get_mut(key).and_then(Option::as_mut) {
            let rest = input.get(taken..).unwrap_or_default();
            if rest.is_empty() {
                connection.partial = Vec::new();
            } else {
                connection.partial.clear();
                connection.partial.extend_from_slice(rest);
            }
        }
        self.write(key, &turn.answers);
        if then == Then::Close {
            self.close(key);
        }
    }

    fn take(&mut self, key: usize, input: &mut [u8], turn: &mut Turn) -> (usize, Then) {
        let mut start = 0;
        if let Some(connection) = self.connections.get_mut(key).and_then(Option::as_mut)
            && !connection.is_websocket
        {
            match handshake(input, &mut turn.answers) {
                Handshake::Partial => return (0, Then::Keep),
                Handshake::Refused => return (input.len(), Then::Close),
                Handshake::Done(length) => start = length,
            }
            connection.is_websocket = true;
        }
        let mut members = Members {
            server: self,
            reader: key,
        };
        let (taken, then) = turn.take(input.get_mut(start..).unwrap_or_default(), &mut members);
        (start + taken, then)
    }

    /// Sends at once; what the socket does not take waits until it is writable.
    fn write(&mut self, key: usize, bytes: &[u8]) {
        let Some(connection) = self.connections.get_mut(key).and_then(Option::as_mut) else {
            return;
        };
        if bytes.is_empty() {
            return;
        }
        if !connection.unsent.is_empty() {
            connection.unsent.extend_from_slice(bytes);
            return;
        }
        // An error shows again when the connection is read.
        let sent = connection.stream.write(bytes).unwrap_or(0);
        if let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
            connection.unsent.extend_from_slice(rest);
            self.watch(key, EventFlags::IN | EventFlags::OUT);
        }
    }

    fn flush(&mut self, key: usize) {
        let Some(connection) = self.connections.get_mut(key).and_then(Option::as_mut) else {
            return;
        };
        match connection.stream.write(&connection.unsent) {
            Ok(sent) => drop(connection.unsent.drain(..sent)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // The connection is gone, as the next read finds out.
            Err(_) => connection.unsent.clear(),
        }
        if connection.unsent.is_empty() {
            connection.unsent = Vec::new();
            self.watch(key, EventFlags::IN);
        }
    }

    fn watch(&self, key: usize, flags: EventFlags) {
        if let Some(Some(connection)) = self.connections.get(key) {
            // It fails for a socket that is gone, which the next read finds out.
            let _ = epoll::modify(
                &self.poll,
                &connection.stream,
                EventData::new_u64(key as u64),
                flags,
            );
        }
    }

    fn close(&mut self, key: usize) {
        if let Some(connection) = self.connections.get_mut(key).and_then(Option::take) {
            for room in connection.rooms {
                let members = &mut self.members[room as usize];
                if let Some(place) = members.iter().position(|member| *member as usize == key) {
                    members.swap_remove(place);
                }
            }
            self.free.push(key);
        }
    }
}

/// The hub, seen from the connection that is being read.
struct Members<'a> {
    server: &'a mut Server,
    reader: usize,
}

impl Hub for Members<'_> {
    fn join(&mut self, room: &[u8]) {
        let server = &mut *self.server;
        let number = match server.rooms.get(room) {
            Some(number) => *number,
            None => {
                let number = server.members.len() as u32;
                server.rooms.insert(room.into(), number);
                server.members.push(Vec::new());
                number
            }
        };
        if let Some(Some(connection)) = server.connections.get_mut(self.reader)
            && !connection.rooms.contains(&number)
        {
            connection.rooms.push(number);
            server.members[number as usize].push(self.reader as u32);
        }
    }

    fn is_member(&self, room: &[u8]) -> bool {
        let number = self.server.rooms.get(room);
        let connection = self.server.connections.get(self.reader);
        matches!((number, connection), (Some(number), Some(Some(connection))) if connection.rooms.contains(number))
    }

    fn publish(&mut self, room: &[u8], frames: &[u8]) {
        let Some(number) = self.server.rooms.get(room).map(|number| *number as usize) else {
            return;
        };
        // Taken out for the loop: writing never changes who is a member.
        let members = std::mem::take(&mut self.server.members[number]);
        for member in members.iter().map(|member| *member as usize) {
            if member != self.reader {
                self.server.write(member, frames);
            }
        }
        self.server.members[number] = members;
    }
}
