//! What hyper sees in what a client sends.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper::{Request, Response};

use crate::opinions::Seen;

/// A client that has sent everything and reads whatever it is answered.
struct Client<'a>(&'a [u8]);

impl Read for Client<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context,
        mut buffer: ReadBufCursor,
    ) -> Poll<io::Result<()>> {
        let (now, later) = self.0.split_at(self.0.len().min(buffer.remaining()));
        buffer.put_slice(now);
        self.0 = later;
        Poll::Ready(Ok(()))
    }
}

impl Write for Client<'_> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The whole requests that hyper sees, and the error that ended the connection.
pub fn read(sent: &[u8]) -> (Vec<Seen>, Option<hyper::Error>) {
    let requests = RefCell::new(Vec::new());
    let served = Builder::new()
        .half_close(true)
        .serve_connection(Client(sent), service_fn(|request| note(request, &requests)));
    let mut served = Box::pin(served);
    let mut context = Context::from_waker(Waker::noop());
    let result = (0..1000).find_map(|_| match served.as_mut().poll(&mut context) {
        Poll::Ready(result) => Some(result),
        Poll::Pending => None,
    });
    drop(served);
    let error = result.expect("it ends with what was sent").err();
    (requests.into_inner(), error)
}

async fn note(
    request: Request<Incoming>,
    requests: &RefCell<Vec<Seen>>,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    if let Ok(body) = body.collect().await {
        requests.borrow_mut().push(Seen {
            method: head.method.to_string(),
            path: head.uri.path().to_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            body: body.to_bytes().to_vec(),
        });
    }
    Ok(Response::new(Empty::new()))
}
