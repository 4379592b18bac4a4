//! The console's listener. Each client has a thread, which reads commands, has the main thread run
//! them, and sends what they answer.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::{Shutdown, SocketAddr, TcpStream as StdStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token, Waker};
use parking_lot::{Condvar, Mutex};

use crate::console::wire::{Channel, Lost, fit};
use crate::error::{Error, Result};
use crate::logger::notice;
use crate::net::crypto::Key;
use crate::unix;

/// Clients that may be connected at a time.
const MOST: usize = 32;

/// How long a client may be silent between two commands.
const PATIENCE: Duration = Duration::from_secs(60 * 60);

/// How long nothing is accepted when the system has no room for one more.
const PAUSE: Duration = Duration::from_secs(1);

/// Runs a command and gives its answer; nothing when the daemon has ended.
pub type Execute = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// The running listener.
pub struct Server(Arc<Inner>);

struct Inner {
    #[cfg(test)]
    address: SocketAddr,
    execute: Execute,
    waker: Waker,
    state: Mutex<State>,
    /// A client has been answered or has gone.
    changed: Condvar,
}

struct State {
    key: Key,
    is_over: bool,
    clients: HashMap<usize, Client>,
    /// How many clients there have been.
    count: usize,
}

struct Client {
    /// To close it from another thread.
    stream: StdStream,
    is_answered: bool,
    /// Whether it has shown that it has the key.
    is_known: bool,
}

/// A listener that is open and not served yet: its port may need privileges that the server has not.
pub struct Listener {
    address: SocketAddr,
    socket: TcpListener,
    poll: Poll,
}

impl Listener {
    pub fn open(address: SocketAddr) -> Result<Listener> {
        let failed = || Error::io(format!("console {address}"));
        let mut socket = TcpListener::bind(address).map_err(failed())?;
        let address = socket.local_addr().map_err(failed())?;
        let poll = Poll::new().map_err(failed())?;
        poll.registry().register(&mut socket, Token(0), Interest::READABLE).map_err(failed())?;
        Ok(Listener { address, socket, poll })
    }
}

impl Server {
    /// Serves clients that have the same key.
    pub fn start(listener: Listener, key: Key, execute: Execute) -> Result<Server> {
        let Listener { address, socket, poll } = listener;
        let failed = Error::io(format!("console {address}"));
        let waker = Waker::new(poll.registry(), Token(1)).map_err(failed)?;
        let state = State { key, is_over: false, clients: HashMap::new(), count: 0 };
        let inner = Arc::new(Inner {
            #[cfg(test)]
            address,
            execute,
            waker,
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        let own = inner.clone();
        unix::spawn("console", move || own.accept_all(&socket, poll))?;
        notice!("Accepting control connections on {address}");
        Ok(Server(inner))
    }

    /// Asks for another key from now on. Clients that have the old one are closed.
    pub fn change_key(&self, key: &Key) {
        let mut state = self.0.state.lock();
        if state.key != *key {
            state.key = key.clone();
            state.clients.values().for_each(Client::close);
        }
    }

    /// Closes the listener and the clients, each after the answer that it waits for if that comes
    /// before `deadline`.
    pub fn stop(self, deadline: Instant) {
        let mut state = self.0.state.lock();
        while state.clients.values().any(|client| !client.is_answered) {
            if self.0.changed.wait_until(&mut state, deadline).timed_out() {
                break;
            }
        }
    }
}

/// Closes everything.
impl Drop for Server {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.is_over = true;
        state.clients.values().for_each(Client::close);
        if let Err(e) = self.0.waker.wake() {
            log::error!("the console thread can't be woken: {e}");
        }
    }
}

impl State {
    /// Closes the client that has been here longest without showing that it has the key, if there is
    /// one: those who have it must be able to come.
    fn make_room(&mut self) -> bool {
        let strangers = self.clients.iter().filter(|(_, client)| !client.is_known);
        let Some(oldest) = strangers.map(|(number, _)| *number).min() else { return false };
        if let Some(client) = self.clients.remove(&oldest) {
            client.close();
        }
        true
    }
}

impl Client {
    fn close(&self) {
        // It may have gone.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

impl Inner {
    fn accept_all(self: Arc<Inner>, listener: &TcpListener, mut poll: Poll) {
        let mut events = Events::with_capacity(2);
        while !self.state.lock().is_over {
            match listener.accept() {
                Ok((stream, peer)) => {
                    if let Err(e) = self.admit(stream.into(), peer) {
                        log::error!("console: {peer}: {e}");
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    if let Err(e) = poll.poll(&mut events, None)
                        && e.kind() != ErrorKind::Interrupted
                    {
                        return log::error!("the console can't wait for clients: {e}");
                    }
                }
                Err(e) if matches!(e.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => {}
                Err(e) => {
                    log::error!("console: no connection can be accepted for {} s: {e}", PAUSE.as_secs());
                    thread::sleep(PAUSE);
                }
            }
        }
    }

    fn admit(self: &Arc<Inner>, stream: StdStream, peer: SocketAddr) -> io::Result<()> {
        stream.set_nonblocking(false)?;
        let mut state = self.state.lock();
        if state.clients.len() >= MOST && !state.make_room() {
            log::warn!("console: {peer} refused: there are {MOST} connections already");
            return Ok(());
        }
        state.count += 1;
        let (number, key) = (state.count, state.key.clone());
        state
            .clients
            .insert(number, Client { stream: stream.try_clone()?, is_answered: true, is_known: false });
        drop(state);
        let own = self.clone();
        let serve = move || {
            notice!("console: {peer} connected");
            match own.serve(number, stream, key) {
                Lost::Closed => notice!("console: {peer} disconnected"),
                Lost::Undecipherable => log::error!("console: {peer}: {}", Lost::Undecipherable),
                e => notice!("console: {peer} disconnected: {e}"),
            }
            own.state.lock().clients.remove(&number);
            own.changed.notify_all();
        };
        let thread = thread::Builder::new().name(format!("console-{number}"));
        thread.spawn(serve).map(drop).inspect_err(|_| drop(self.state.lock().clients.remove(&number)))
    }

    /// Answers commands until the client is lost.
    fn serve(&self, number: usize, stream: StdStream, key: Key) -> Lost {
        let run = || -> std::result::Result<(), Lost> {
            stream.set_nodelay(true)?;
            let mut channel = Channel::open(stream, key)?;
            loop {
                let line = channel.read(PATIENCE)?;
                self.set_answered(number, false);
                let answer = (self.execute)(&String::from_utf8_lossy(&line)).ok_or(Lost::Closed)?;
                let written = channel.write(fit(answer).as_bytes());
                self.set_answered(number, true);
                written?;
            }
        };
        run().err().unwrap_or(Lost::Closed)
    }

    fn set_answered(&self, number: usize, is_answered: bool) {
        if let Some(client) = self.state.lock().clients.get_mut(&number) {
            client.is_answered = is_answered;
            client.is_known = true;
        }
        self.changed.notify_all();
    }

    #[cfg(test)]
    fn clients(&self) -> usize {
        self.state.lock().clients.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::wire::TIMEOUT;
    use crate::net::crypto::new_key;
    use std::io::Read;

    fn key() -> Key {
        new_key().unwrap().parse().unwrap()
    }

    fn start(key: &Key) -> Server {
        let echo = |line: &str| Some(line.to_owned());
        let listener = Listener::open("127.0.0.1:0".parse().unwrap()).unwrap();
        Server::start(listener, key.clone(), Arc::new(echo)).unwrap()
    }

    fn connect(server: &Server, key: &Key) -> std::result::Result<Channel, Lost> {
        Channel::open(StdStream::connect(server.0.address)?, key.clone())
    }

    fn ask(channel: &mut Channel, line: &str) -> std::result::Result<String, Lost> {
        channel.write(line.as_bytes())?;
        channel.read(TIMEOUT).map(|answer| String::from_utf8(answer.to_vec()).unwrap())
    }

    #[test]
    fn whoever_has_the_key_finds_room_until_all_have_it() {
        let key = key();
        let server = start(&key);
        let mut strangers: Vec<Channel> = (0..MOST).map(|_| connect(&server, &key).unwrap()).collect();
        let mut clients: Vec<Channel> = (0..MOST)
            .map(|number| {
                let mut client = connect(&server, &key).unwrap();
                assert_eq!(ask(&mut client, &number.to_string()).unwrap(), number.to_string());
                client
            })
            .collect();
        assert!(strangers.iter_mut().all(|stranger| stranger.read(TIMEOUT).is_err()), "closed");
        assert!(connect(&server, &key).is_err(), "no room");
        drop(clients.pop());
        while server.0.clients() == MOST {
            thread::yield_now();
        }
        assert_eq!(ask(&mut connect(&server, &key).unwrap(), "there").unwrap(), "there");
        server.stop(Instant::now() + TIMEOUT);
        assert!(matches!(clients[0].read(TIMEOUT), Err(Lost::Closed)));
    }

    #[test]
    fn only_the_present_key_is_of_use() {
        let [old, new] = [key(), key()];
        let server = start(&old);
        let mut client = connect(&server, &old).unwrap();
        ask(&mut client, "x").unwrap();
        server.change_key(&old);
        ask(&mut client, "x").unwrap();
        server.change_key(&new);
        assert!(client.read(TIMEOUT).is_err(), "closed");
        assert!(ask(&mut connect(&server, &old).unwrap(), "x").is_err());
        assert_eq!(ask(&mut connect(&server, &new).unwrap(), "x").unwrap(), "x");
        let mut garbage = StdStream::connect(server.0.address).unwrap();
        io::Write::write_all(&mut garbage, &[0x55; 1 << 16]).unwrap();
        // The nonce comes, then the end or a reset, and the server goes on.
        while let Ok(1..) = garbage.read(&mut [0; 64]) {}
        assert_eq!(ask(&mut connect(&server, &new).unwrap(), "x").unwrap(), "x");
        server.stop(Instant::now() + TIMEOUT);
    }
}
