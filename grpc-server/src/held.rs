//! The body of a stream that stays open: with its place, and an end.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Bytes;
use tonic::codegen::http::HeaderMap;

/// Resolves when the stream has to end, to what its caller is told.
pub(crate) type Ending = Pin<Box<dyn Future<Output = Status> + Send>>;

/// A stream, with what has to be kept while it is open.
pub(crate) struct Held<K> {
    inner: Option<Body>,
    ending: Ending,
    _kept: K,
}

impl<K> Held<K> {
    pub(crate) fn new(inner: Body, ending: Ending, kept: K) -> Self {
        Self {
            inner: Some(inner),
            ending,
            _kept: kept,
        }
    }
}

impl<K: Unpin> HttpBody for Held<K> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let held = &mut *self;
        let Some(inner) = &mut held.inner else {
            return Poll::Ready(None);
        };
        if let Poll::Ready(status) = held.ending.as_mut().poll(context) {
            held.inner = None;
            let mut trailers = HeaderMap::new();
            return Poll::Ready(Some(match status.add_header(&mut trailers) {
                Ok(()) => Ok(Frame::trailers(trailers)),
                Err(status) => Err(status),
            }));
        }
        Pin::new(inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
