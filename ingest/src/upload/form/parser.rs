//! A form's parser that is fed by the sip, and only when it cannot go on with what it has.
//!
//! multer takes in all that is ready each time it is asked, and keeps what it cannot tell yet: what comes before the first
//! boundary, and the head of a part. So it is given no more while it has something to hand out, and never more than
//! [`MOST_UNTOLD`] bytes and a sip that lead to nothing. And the whole form keeps one pace, whatever its parts are: only the time in
//! which the parser has nothing to hand out is waiting for the client.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context as Poller, Poll, ready},
};

use bytes::Bytes;
use futures_util::Stream;
use headworks_shared::storage::BodyError;
use multer::{Field, Multipart};

use crate::{
    admission::FORM_BYTES,
    body::{Frame, Frames, Timer},
};

/// The parser swallows all that is ready; so no more than this is ready at a time. It may hold a sip, what came before it, and a
/// boundary.
const SIP: usize = FORM_BYTES / 3;

/// The bytes after which a part must begin or go on; a head of a part is rarely a thousandth of it.
const MOST_UNTOLD: usize = 64 << 10;

/// A form as it comes.
pub(super) struct Parser {
    form: Multipart<'static>,
    feed: Arc<Feed>,
}

impl Parser {
    /// A parser of a form that is `length` bytes long, and that `timer` gives its time.
    pub(super) fn new<F: Frames + 'static>(
        frames: F,
        boundary: String,
        length: Option<u64>,
        timer: Timer,
    ) -> Self {
        let feed = Arc::new(Feed::new(length, timer));
        let sips = Sips { frames, feed: Arc::clone(&feed) };
        Self { form: Multipart::new(sips, boundary), feed }
    }

    /// The next part, or `None` after the last; the parts before it must have been read to their ends.
    pub(super) async fn next(&mut self) -> Result<Option<Part>, BodyError> {
        let Self { form, feed } = self;
        let next = |poller: &mut Poller<'_>| feed.drive(poller, 0, |poller| form.poll_next_field(poller));
        let field = std::future::poll_fn(next).await?;
        Ok(field.map(|field| Part { field, feed: Arc::clone(&self.feed) }))
    }
}

/// One part of a form, as a body.
pub(super) struct Part {
    field: Field<'static>,
    feed: Arc<Feed>,
}

impl Part {
    pub(super) fn name(&self) -> Option<&str> {
        self.field.name()
    }

    pub(super) fn file_name(&self) -> Option<&str> {
        self.field.file_name()
    }

    pub(super) fn content_type(&self) -> Option<&str> {
        self.field.content_type().map(AsRef::as_ref)
    }
}

impl Frames for Part {
    fn poll_frame(
        &mut self,
        poller: &mut Poller<'_>,
        received: u64,
    ) -> Poll<Result<Option<Frame>, BodyError>> {
        let Self { field, feed } = self;
        let chunk = |poller: &mut Poller<'_>| Pin::new(&mut *field).poll_next(poller).map(Option::transpose);
        let chunk = ready!(feed.drive(poller, received, chunk))?;
        feed.told.fetch_add(chunk.as_ref().map_or(0, |chunk| chunk.len() as u64), Relaxed);
        Poll::Ready(Ok(chunk.map(Frame::Data)))
    }

    /// No more than there is of the form, less what its parts have had.
    fn at_most(&self) -> Option<u64> {
        self.feed.length.map(|length| length.saturating_sub(self.feed.told.load(Relaxed)))
    }
}

/// What the parser was given, and may be given. One task uses it; it is shared because multer owns its stream.
#[derive(Debug)]
struct Feed {
    /// Bytes handed over since something came out.
    untold: AtomicUsize,
    /// What is left of this sip.
    left: AtomicUsize,
    /// All bytes of the form so far.
    received: AtomicU64,
    timer: Mutex<Timer>,
    /// How long the form is.
    length: Option<u64>,
    /// How many bytes came out in parts.
    told: AtomicU64,
}

impl Feed {
    fn new(length: Option<u64>, timer: Timer) -> Self {
        Self {
            untold: AtomicUsize::new(0),
            left: AtomicUsize::new(0),
            received: AtomicU64::new(0),
            timer: Mutex::new(timer),
            length,
            told: AtomicU64::new(0),
        }
    }

    fn timer(&self) -> MutexGuard<'_, Timer> {
        self.timer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the parser with what it has, and once more with a sip when that is not enough.
    fn drive<T>(
        &self,
        poller: &mut Poller<'_>,
        received: u64,
        mut ask: impl FnMut(&mut Poller<'_>) -> Poll<Result<T, multer::Error>>,
    ) -> Poll<Result<T, BodyError>> {
        self.left.store(0, Relaxed);
        let mut told = ask(poller);
        if told.is_pending() {
            if self.untold.load(Relaxed) > MOST_UNTOLD {
                let detail = "more than 64 KiB came before the first boundary, or in the head of a part";
                return Poll::Ready(Err(BodyError::Malformed(detail)));
            }
            self.left.store(SIP, Relaxed);
            told = ask(poller);
        }
        let Poll::Ready(told) = told else {
            return self.timer().poll_waiting(poller, self.received.load(Relaxed)).map(Err);
        };
        self.untold.store(0, Relaxed);
        Poll::Ready(told.map_err(|error| body_error(&error, received)))
    }

    fn handed(&self, bytes: usize) {
        let before = self.received.fetch_add(bytes as u64, Relaxed);
        self.timer().came(before);
        self.untold.fetch_add(bytes, Relaxed);
        self.left.store(self.left.load(Relaxed).saturating_sub(bytes), Relaxed);
    }
}

/// The body of a form for its parser, in sips.
struct Sips<F> {
    frames: F,
    feed: Arc<Feed>,
}

impl<F: Frames> Stream for Sips<F> {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, poller: &mut Poller<'_>) -> Poll<Option<Self::Item>> {
        if self.feed.left.load(Relaxed) == 0 {
            // After a sip the parser is asked again; before one, it is anyway.
            if self.feed.untold.load(Relaxed) > 0 {
                poller.waker().wake_by_ref();
            }
            return Poll::Pending;
        }
        let received = self.feed.received.load(Relaxed);
        match ready!(self.frames.poll_frame(poller, received)) {
            Ok(Some(Frame::Data(bytes))) => {
                self.feed.handed(bytes.len());
                Poll::Ready(Some(Ok(bytes)))
            }
            Ok(Some(Frame::Trailers(_)) | None) => Poll::Ready(None),
            Err(error) => Poll::Ready(Some(Err(error))),
        }
    }
}

fn body_error(error: &multer::Error, received: u64) -> BodyError {
    match error {
        multer::Error::StreamReadFailed(source) => {
            source.downcast_ref::<BodyError>().cloned().unwrap_or(BodyError::Client { received })
        }
        multer::Error::IncompleteStream
        | multer::Error::IncompleteFieldData { .. }
        | multer::Error::IncompleteHeaders => BodyError::Client { received },
        _ => BodyError::Malformed("the form cannot be read"),
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use tokio::time::{Instant, Sleep, sleep};

    use super::*;
    use crate::body::Bounds;

    fn bounds() -> Bounds {
        Bounds {
            max_object: u64::MAX,
            stall_timeout: Duration::from_secs(30),
            min_rate: 1024,
            upload_timeout: Duration::from_secs(3600),
        }
    }

    /// Gives the head, then the same piece for ever; counts what was taken.
    struct Endless {
        head: Option<Bytes>,
        piece: Bytes,
        taken: Arc<AtomicUsize>,
    }

    impl Frames for Endless {
        fn poll_frame(&mut self, _: &mut Poller<'_>, _: u64) -> Poll<Result<Option<Frame>, BodyError>> {
            let bytes = self.head.take().unwrap_or_else(|| self.piece.clone());
            self.taken.fetch_add(bytes.len(), Relaxed);
            Poll::Ready(Ok(Some(Frame::Data(bytes))))
        }
    }

    fn endless(head: &'static str, piece: impl Into<Bytes>) -> (Parser, Arc<AtomicUsize>) {
        let taken = Arc::new(AtomicUsize::new(0));
        let frames = Endless { head: Some(head.into()), piece: piece.into(), taken: Arc::clone(&taken) };
        (Parser::new(frames, "b".to_owned(), None, bounds().timer()), taken)
    }

    #[tokio::test]
    async fn what_leads_to_no_part_is_not_read_on() {
        for head in ["", "--b\r\nX: "] {
            let (mut parser, taken) = endless(head, vec![b'a'; 5000]);
            assert!(matches!(parser.next().await, Err(BodyError::Malformed(_))), "after {head:?}");
            assert!(taken.load(Relaxed) <= MOST_UNTOLD + SIP + 5000, "{taken:?} bytes after {head:?}");
        }
    }

    #[tokio::test]
    async fn a_long_part_goes_on_and_on() {
        let (mut parser, _) = endless("--b\r\nX: y\r\n\r\n", vec![b'a'; 5000]);
        let mut part = parser.next().await.unwrap().unwrap();
        let mut received = 0;
        while received < 10 << 20 {
            match poll_fn(|poller| part.poll_frame(poller, received)).await {
                Ok(Some(Frame::Data(bytes))) => received += bytes.len() as u64,
                _ => panic!("ended after {received} bytes"),
            }
        }
    }

    #[tokio::test]
    async fn a_part_is_known_to_be_no_longer_than_what_is_left_of_its_form() {
        const TEXT: &str = "--b\r\nX: y\r\n\r\nhello\r\n--b\r\nX: y\r\n\r\nagain\r\n--b--\r\n";
        for length in [None, Some(TEXT.len() as u64)] {
            let frames = Endless { head: Some(TEXT.into()), piece: "\r\n".into(), taken: Arc::default() };
            let mut parser = Parser::new(frames, "b".to_owned(), length, bounds().timer());
            for before in [0, 5] {
                let mut part = parser.next().await.unwrap().unwrap();
                assert_eq!(part.at_most(), length.map(|length| length - before));
                while poll_fn(|poller| part.poll_frame(poller, 0)).await.unwrap().is_some() {}
            }
        }
    }

    #[tokio::test]
    async fn many_small_parts_do_not_pile_up() {
        let (mut parser, taken) = endless("", "--b\r\nX: y\r\n\r\nz\r\n");
        for parts in 1..20_000_usize {
            let mut part = parser.next().await.unwrap().unwrap();
            while poll_fn(|poller| part.poll_frame(poller, 0)).await.unwrap().is_some() {}
            assert!(taken.load(Relaxed) <= parts * 17 + 2 * SIP, "{taken:?} bytes for {parts} parts");
        }
    }

    /// So that no window ends right between two waits.
    const EVERY: Duration = Duration::from_millis(700);

    /// Gives a piece every so often, for ever.
    struct Trickle {
        piece: Bytes,
        next: Pin<Box<Sleep>>,
    }

    impl Frames for Trickle {
        fn poll_frame(&mut self, poller: &mut Poller<'_>, _: u64) -> Poll<Result<Option<Frame>, BodyError>> {
            ready!(self.next.as_mut().poll(poller));
            self.next.as_mut().reset(Instant::now() + EVERY);
            Poll::Ready(Ok(Some(Frame::Data(self.piece.clone()))))
        }
    }

    /// Reads parts of one piece each until something is wrong; with the time that it took.
    async fn trickle(piece: String, bounds: Bounds) -> (BodyError, Duration) {
        let begun = Instant::now();
        let frames = Trickle { piece: piece.into(), next: Box::pin(sleep(EVERY)) };
        let mut parser = Parser::new(frames, "b".to_owned(), None, bounds.timer());
        let error = loop {
            let mut part = match parser.next().await {
                Ok(part) => part.unwrap(),
                Err(error) => break error,
            };
            let rest = async {
                while poll_fn(|poller| part.poll_frame(poller, 0)).await?.is_some() {}
                Ok(())
            };
            if let Err(error) = rest.await {
                break error;
            }
        };
        (error, begun.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn many_small_parts_keep_the_pace_of_one_body() {
        let (error, took) = trickle("--b\r\nX: y\r\n\r\nz\r\n".to_owned(), bounds()).await;
        assert!(matches!(error, BodyError::TooSlow { .. }), "{error:?}");
        assert_eq!(took.as_secs(), 40, "after grace and window");
    }

    #[tokio::test(start_paused = true)]
    async fn a_form_has_the_time_of_one_upload() {
        let piece = format!("--b\r\nX: y\r\n\r\n{}\r\n", "z".repeat(5000));
        let bounds = Bounds { upload_timeout: Duration::from_secs(300), ..bounds() };
        let (error, took) = trickle(piece, bounds).await;
        assert!(matches!(error, BodyError::TooSlow { .. }), "{error:?}");
        assert_eq!(took.as_secs(), 300);
    }
}
