//! The limit: what a hand-written server costs that does nothing of MCP.
//!
//! httparse, serde_json, a thread per connection, a pool behind a bounded crossbeam channel. Over HTTP there are two forms of it: in `bare` the worker hands
//! its answer back and the connection's thread writes it; in `bare poll` the worker sends it and the thread waits for the next request. No checks, no limits, no eras, no cancellation, no
//! log, no request id; whatever the library adds to this is the price of all that.

use std::borrow::Cow;
use std::io::{self, BufRead, BufReader, IoSlice, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::net::SendFlags;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::support::tools::{Spec, burn, ready};

const QUEUE_LEN: usize = 256;
const BUFFER_BYTES: usize = 16 * 1024;

/// One message on its way to a worker.
struct Job {
    body: Vec<u8>,
    reply: Sender<Reply>,
    /// Where the worker sends the answer itself.
    direct: Option<Arc<Direct>>,
}

/// A connection that its workers write to, and what wakes its thread when there is something that they did not write.
struct Direct {
    stream: TcpStream,
    bell: OwnedFd,
}

impl Direct {
    /// Sends an answer that nothing was said before. What the kernel does not take comes back.
    fn send(&self, body: Vec<u8>) -> Option<Vec<u8>> {
        let mut out = head(body.len()).into_bytes();
        out.extend_from_slice(&body);
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let sent = rustix::net::send(&self.stream, &out, flags).unwrap_or(0);
        out.drain(..sent);
        (!out.is_empty()).then_some(out)
    }

    fn ring(&self) {
        rustix::io::write(&self.bell, &1_u64.to_ne_bytes()).expect("an eventfd counts");
    }

    /// Waits for the client or the bell; whether it was the client.
    fn wait(&self) -> io::Result<bool> {
        let mut polled = [
            PollFd::new(&self.bell, PollFlags::IN),
            PollFd::new(&self.stream, PollFlags::IN),
        ];
        poll(&mut polled, None)?;
        if polled[0].revents().is_empty() {
            return Ok(true);
        }
        rustix::io::read(&self.bell, &mut [0_u8; 8])?;
        Ok(false)
    }
}

enum Reply {
    Event(Vec<u8>),
    Answer(Vec<u8>),
    /// What is left of an answer that the worker has begun to send.
    Rest(Vec<u8>),
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    id: &'a RawValue,
    #[serde(borrow)]
    params: Params<'a>,
}

#[derive(Deserialize)]
struct Params<'a> {
    #[serde(borrow, default)]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    arguments: Arguments<'a>,
}

#[derive(Default, Deserialize)]
struct Arguments<'a> {
    #[serde(borrow, default)]
    text: Cow<'a, str>,
    #[serde(default)]
    n: u32,
    #[serde(default)]
    ms: u64,
}

#[derive(Serialize)]
struct Answer<'a> {
    jsonrpc: &'a str,
    id: &'a RawValue,
    result: Content<'a>,
}

#[derive(Serialize)]
struct Content<'a> {
    content: [Text<'a>; 1],
}

#[derive(Serialize)]
struct Text<'a> {
    r#type: &'a str,
    text: &'a str,
}

#[derive(Serialize)]
struct Event<'a> {
    jsonrpc: &'a str,
    method: &'a str,
    params: Progress<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Progress<'a> {
    progress_token: &'a str,
    progress: u32,
    total: u32,
    message: &'a str,
}

/// Serves until stdin ends. Does not return.
pub(crate) fn serve(spec: &Spec) -> ! {
    let jobs = pool(spec.workers.unwrap_or(4), spec.queue.unwrap_or(QUEUE_LEN));
    if spec.front == "bare stdio" {
        stdio(&jobs);
        process::exit(0);
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback is there");
    let address = listener.local_addr().expect("it is bound");
    let polls = spec.front == "bare poll";
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let jobs = jobs.clone();
            let connection = thread::Builder::new().stack_size(128 * 1024);
            // A client that leaves ends its thread; there is nobody to tell.
            let _detached = connection.spawn(move || connection_loop(stream, &jobs, polls));
        }
    });
    ready(address)
}

fn pool(workers: usize, queue: usize) -> Sender<Job> {
    let (jobs, take) = bounded::<Job>(queue);
    for _ in 0..workers {
        let take = take.clone();
        thread::spawn(move || {
            for job in take {
                let mut events = 0;
                let answer = respond(&job, &mut events);
                let reply = match &job.direct {
                    Some(direct) if events == 0 => direct.send(answer).map(Reply::Rest),
                    _ => Some(Reply::Answer(answer)),
                };
                if let Some(reply) = reply {
                    job.put(reply);
                }
            }
        });
    }
    jobs
}

impl Job {
    fn put(&self, reply: Reply) {
        let _gone = self.reply.send(reply);
        if let Some(direct) = &self.direct {
            direct.ring();
        }
    }
}

fn respond(job: &Job, events: &mut u32) -> Vec<u8> {
    let message: Message<'_> = serde_json::from_slice(&job.body).expect("the bench sends messages");
    let params = message.params;
    if params.name == "spin" {
        burn(Duration::from_millis(params.arguments.ms));
    }
    if params.name == "progress" {
        let n = params.arguments.n;
        for step in 1..=n {
            job.put(Reply::Event(progress(step, n)));
        }
        *events = n;
    }
    let mut out = Vec::with_capacity(128 + params.arguments.text.len());
    let answer = Answer {
        jsonrpc: "2.0",
        id: message.id,
        result: Content {
            content: [Text {
                r#type: "text",
                text: &params.arguments.text,
            }],
        },
    };
    serde_json::to_writer(&mut out, &answer).expect("a Vec takes every write");
    out
}

fn progress(progress: u32, total: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(160);
    let event = Event {
        jsonrpc: "2.0",
        method: "notifications/progress",
        params: Progress {
            progress_token: "p",
            progress,
            total,
            message: "working",
        },
    };
    serde_json::to_writer(&mut out, &event).expect("a Vec takes every write");
    out
}

fn connection_loop(mut stream: TcpStream, jobs: &Sender<Job>, polls: bool) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let direct = match polls {
        true => Some(Arc::new(Direct {
            stream: stream.try_clone()?,
            bell: eventfd(0, EventfdFlags::CLOEXEC)?,
        })),
        false => None,
    };
    let (reply, replies) = bounded(QUEUE_LEN);
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut filled = 0;
    loop {
        let (head_len, body_len) = loop {
            if let Some(lengths) = lengths(&buffer[..filled]) {
                break lengths;
            }
            match stream.read(&mut buffer[filled..])? {
                0 => return Ok(()),
                read => filled += read,
            }
        };
        let mut body = Vec::with_capacity(body_len);
        let here = body_len.min(filled - head_len);
        body.extend_from_slice(&buffer[head_len..head_len + here]);
        buffer.copy_within(head_len + here..filled, 0);
        filled -= head_len + here;
        let missing = u64::try_from(body_len - here).unwrap_or(u64::MAX);
        (&stream).take(missing).read_to_end(&mut body)?;
        let job = Job {
            body,
            reply: reply.clone(),
            direct: direct.clone(),
        };
        if jobs.try_send(job).is_err() {
            stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")?;
            continue;
        }
        match &direct {
            // The client's next request says that it has its answer.
            Some(direct) => {
                while !direct.wait()? {
                    if let Ok(first) = replies.try_recv() {
                        answer(&mut stream, &replies, first)?;
                    }
                }
            }
            None => answer(
                &mut stream,
                &replies,
                replies.recv().map_err(io::Error::other)?,
            )?,
        }
    }
}

/// The lengths of head and body, once the head is whole.
fn lengths(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut request = httparse::Request::new(&mut headers);
    let head_len = match request.parse(bytes).expect("the bench sends HTTP") {
        httparse::Status::Complete(head_len) => head_len,
        httparse::Status::Partial => return None,
    };
    let length = request
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"))?;
    Some((
        head_len,
        std::str::from_utf8(length.value).ok()?.parse().ok()?,
    ))
}

fn head(length: usize) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n")
}

fn answer(stream: &mut TcpStream, replies: &Receiver<Reply>, first: Reply) -> io::Result<()> {
    match first {
        Reply::Answer(body) => write_both(stream, head(body.len()).as_bytes(), &body),
        Reply::Rest(rest) => stream.write_all(&rest),
        first => {
            stream.write_all(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
            )?;
            stream_events(stream, replies, first)
        }
    }
}

/// Everything that is there in one chunk, and again, until the answer.
fn stream_events(
    stream: &mut TcpStream,
    replies: &Receiver<Reply>,
    mut next: Reply,
) -> io::Result<()> {
    let mut events = Vec::new();
    loop {
        let is_last = matches!(next, Reply::Answer(_));
        let (Reply::Event(bytes) | Reply::Answer(bytes) | Reply::Rest(bytes)) = next;
        events.extend_from_slice(b"data: ");
        events.extend_from_slice(&bytes);
        events.extend_from_slice(b"\n\n");
        let waiting = if is_last {
            None
        } else {
            replies.try_recv().ok()
        };
        if let Some(waiting) = waiting {
            next = waiting;
            continue;
        }
        let mut chunk = format!("{:x}\r\n", events.len()).into_bytes();
        chunk.append(&mut events);
        chunk.extend_from_slice(b"\r\n");
        if is_last {
            chunk.extend_from_slice(b"0\r\n\r\n");
        }
        stream.write_all(&chunk)?;
        if is_last {
            return Ok(());
        }
        next = replies.recv().map_err(io::Error::other)?;
    }
}

fn write_both(stream: &mut TcpStream, head: &[u8], body: &[u8]) -> io::Result<()> {
    let written = stream.write_vectored(&[IoSlice::new(head), IoSlice::new(body)])?;
    match written.checked_sub(head.len()) {
        Some(of_body) => stream.write_all(&body[of_body..]),
        None => {
            stream.write_all(&head[written..])?;
            stream.write_all(body)
        }
    }
}

/// One message a line: a thread that reads, the pool, a thread that writes what is ready in one write.
fn stdio(jobs: &Sender<Job>) {
    let (reply, replies) = bounded::<Reply>(QUEUE_LEN);
    let writer = thread::spawn(move || -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        let mut out = Vec::new();
        for first in &replies {
            for reply in std::iter::once(first).chain(replies.try_iter()) {
                let (Reply::Event(line) | Reply::Answer(line) | Reply::Rest(line)) = reply;
                out.extend_from_slice(&line);
                out.push(b'\n');
            }
            stdout.write_all(&out)?;
            stdout.flush()?;
            out.clear();
        }
        Ok(())
    });
    let mut stdin = BufReader::with_capacity(64 * 1024, io::stdin().lock());
    loop {
        let mut body = Vec::new();
        match stdin.read_until(b'\n', &mut body) {
            Ok(0) | Err(_) => break,
            Ok(_) => {
                let reply = reply.clone();
                let direct = None;
                let job = Job {
                    body,
                    reply,
                    direct,
                };
                if jobs.send(job).is_err() {
                    break;
                }
            }
        }
    }
    drop(reply);
    // The workers hold the other senders and never leave, so the writer is not waited for: stdin has ended, nobody reads.
    drop(writer);
}
