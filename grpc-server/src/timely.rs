//! The body of a request that has to arrive soon, because its caller is nobody yet and holds a place meanwhile.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Sleep;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Bytes;

use crate::guard::unread;

pub(crate) struct Timely {
    inner: Body,
    deadline: Pin<Box<Sleep>>,
}

impl Timely {
    pub(crate) fn new(inner: Body, patience: Duration) -> Self {
        Self {
            inner,
            deadline: Box::pin(tokio::time::sleep(patience)),
        }
    }
}

impl HttpBody for Timely {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        // First, so that one that arrives byte by byte has no longer.
        if self.deadline.as_mut().poll(context).is_ready() {
            return Poll::Ready(Some(Err(unread())));
        }
        Pin::new(&mut self.inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
