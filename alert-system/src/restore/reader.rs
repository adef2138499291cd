use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::message::BorrowedMessage;
use rdkafka::statistics::Statistics;
use rdkafka::{ClientContext, Message as _, Offset, TopicPartitionList};
use service::kafka::{Kafka, KafkaError};
use service::topics::Topic;

use super::Progress;
use crate::error::Error;
use crate::worker::GROUP;

/// What is read of one partition of a topic: all that was there when reading began.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) topic: Topic,
    pub(super) partition: i32,
    pub(super) low: i64,
    pub(super) end: i64,
}

impl Span {
    pub(super) fn len(&self) -> u64 {
        u64::try_from(self.end - self.low).unwrap_or(0)
    }
}

/// What reading meets.
pub(super) enum Event<'a> {
    /// A record.
    Record(&'a BorrowedMessage<'a>),
    /// The end of the span.
    End,
}

/// Reads partitions of compacted topics, many at once.
pub(super) struct Reader {
    client: BaseConsumer<Ends>,
}

/// How far a span was read.
struct Cursor {
    next: i64,
    open: bool,
    /// The broker had nothing more up to the end, though the last records before it were not there.
    saw_end: bool,
}

impl Reader {
    /// How long the broker may take to answer, and reading may make no progress at all.
    const PATIENCE: Duration = Duration::from_secs(60);
    /// How often cancelled partitions and the log are looked at, in records.
    const LOOK: u32 = 1_024;

    pub(super) fn open(kafka: &Kafka) -> Result<Self, Error> {
        // The group's name is for its committed offsets; what is assigned by hand does not join.
        let mut config = kafka.consumer_config(GROUP);
        config
            .set("statistics.interval.ms", "500")
            // All there is to read is there already. While the broker waits for more of what was read to its end, the client
            // asks for nothing else: up to half a second, before the states.
            .set("fetch.wait.max.ms", "10");
        Ok(Self {
            client: config.create_with_context(Ends::default())?,
        })
    }

    /// From the beginning to the end that the partitions have now.
    pub(super) fn spans(&self, topic: Topic, partitions: &[i32]) -> Result<Vec<Span>, Error> {
        let span = |partition: &i32| {
            let (low, end) = self
                .client
                .fetch_watermarks(topic.name, *partition, Self::PATIENCE)?;
            Ok(Span {
                topic,
                partition: *partition,
                low,
                end,
            })
        };
        partitions.iter().map(span).collect()
    }

    /// The offsets that the group committed.
    pub(super) fn committed(
        &self,
        topics: &[Topic],
        partitions: &[i32],
    ) -> Result<HashMap<(&'static str, i32), i64>, Error> {
        let mut wanted = TopicPartitionList::new();
        for topic in topics {
            for partition in partitions {
                wanted.add_partition(topic.name, *partition);
            }
        }
        let committed = self.client.committed_offsets(wanted, Self::PATIENCE)?;
        let offsets = topics.iter().flat_map(|topic| {
            let elements = committed.elements_for_topic(topic.name);
            elements
                .into_iter()
                .filter_map(move |element| match element.offset() {
                    Offset::Offset(offset) => Some(((topic.name, element.partition()), offset)),
                    Offset::Beginning
                    | Offset::End
                    | Offset::Stored
                    | Offset::Invalid
                    | Offset::OffsetTail(_) => None,
                })
                .collect::<Vec<_>>()
        });
        Ok(offsets.collect())
    }

    /// Reads the spans, in any order of partitions, and says when each ends. A span whose partition is cancelled just stops.
    pub(super) fn read(
        &self,
        spans: &[Span],
        progress: &Progress,
        is_cancelled: impl Fn(i32) -> bool,
        mut each: impl FnMut(&Span, Event<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.client.context().forget();
        let mut reading = TopicPartitionList::new();
        let mut index = HashMap::new();
        let mut cursors: Vec<Cursor> = Vec::new();
        for span in spans {
            let open = span.low < span.end;
            if open {
                reading.add_partition_offset(span.topic.name, span.partition, Offset::Offset(span.low))?;
            } else {
                each(span, Event::End)?;
            }
            index.insert((span.topic.name, span.partition), cursors.len());
            cursors.push(Cursor {
                next: span.low,
                open,
                saw_end: false,
            });
        }
        self.client.assign(&reading)?;
        let (mut until_look, mut moved) = (Self::LOOK, Instant::now());
        let mut last: Option<(i32, usize)> = None;
        while cursors.iter().any(|cursor| cursor.open) {
            until_look -= 1;
            match self.client.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    // Records come in runs of one partition.
                    let found = match last {
                        Some((partition, at))
                            if partition == message.partition()
                                && spans[at].topic.name == message.topic() =>
                        {
                            Some(at)
                        }
                        _ => index.get(&(message.topic(), message.partition())).copied(),
                    };
                    if let Some(at) = found {
                        last = Some((message.partition(), at));
                        take(&spans[at], &mut cursors[at], &message, progress, &mut each)?;
                    }
                }
                Some(Err(error)) => tracing::warn!(%error, "restoring met an error and goes on"),
                None => {
                    self.close_those_without_last_records(spans, &mut cursors, progress, &mut each)?;
                    until_look = 0;
                }
            }
            if until_look == 0 {
                until_look = Self::LOOK;
                stop_cancelled(spans, &mut cursors, &is_cancelled);
                progress.tell();
                self.check_progress(progress, &mut moved)?;
            }
        }
        self.client.unassign()?;
        Ok(())
    }

    /// The last records before an end may have been compacted away: no record will say that it was reached. An empty poll
    /// does not say so either. The client's statistics do: they name the offset at which a fetch found nothing more. They
    /// were true before this poll, which then would have given the records before that offset.
    fn close_those_without_last_records(
        &self,
        spans: &[Span],
        cursors: &mut [Cursor],
        progress: &Progress,
        each: &mut impl FnMut(&Span, Event<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for (span, cursor) in spans.iter().zip(cursors).filter(|(_, cursor)| cursor.open) {
            if cursor.saw_end {
                progress.advance(u64::try_from(span.end - cursor.next).unwrap_or(0));
                cursor.open = false;
                each(span, Event::End)?;
            }
            cursor.saw_end = self.client.context().end_of(span) >= Some(span.end);
        }
        Ok(())
    }

    fn check_progress(&self, progress: &Progress, moved: &mut Instant) -> Result<(), Error> {
        if self.client.context().moved(progress.done()) {
            *moved = Instant::now();
        } else if moved.elapsed() > Self::PATIENCE {
            let seconds = Self::PATIENCE.as_secs();
            return Err(KafkaError::Topics(format!("no record came for {seconds} s while restoring")).into());
        }
        Ok(())
    }
}

fn take(
    span: &Span,
    cursor: &mut Cursor,
    message: &BorrowedMessage<'_>,
    progress: &Progress,
    each: &mut impl FnMut(&Span, Event<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let offset = message.offset();
    if !cursor.open || offset < cursor.next {
        return Ok(());
    }
    if offset < span.end {
        each(span, Event::Record(message))?;
    }
    let next = span.end.min(offset + 1);
    progress.advance(u64::try_from(next - cursor.next).unwrap_or(0));
    cursor.next = next;
    if next == span.end {
        cursor.open = false;
        each(span, Event::End)?;
    }
    Ok(())
}

fn stop_cancelled(spans: &[Span], cursors: &mut [Cursor], is_cancelled: &impl Fn(i32) -> bool) {
    for (span, cursor) in spans.iter().zip(cursors) {
        cursor.open = cursor.open && !is_cancelled(span.partition);
    }
}

/// Where fetches found nothing more, by topic and partition, as the statistics say.
#[derive(Debug, Default)]
struct Ends {
    offsets: Mutex<HashMap<(String, i32), i64>>,
    done: Mutex<u64>,
}

impl Ends {
    fn forget(&self) {
        self.offsets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    fn end_of(&self, span: &Span) -> Option<i64> {
        let offsets = self.offsets.lock().unwrap_or_else(PoisonError::into_inner);
        offsets
            .get(&(span.topic.name.to_owned(), span.partition))
            .copied()
    }

    /// Whether more is done than when this was asked last.
    fn moved(&self, done: u64) -> bool {
        std::mem::replace(
            &mut *self.done.lock().unwrap_or_else(PoisonError::into_inner),
            done,
        ) != done
    }
}

impl ClientContext for Ends {
    fn stats(&self, statistics: Statistics) {
        let mut offsets = self.offsets.lock().unwrap_or_else(PoisonError::into_inner);
        for topic in statistics.topics.values() {
            for partition in topic.partitions.values() {
                offsets.insert((topic.topic.clone(), partition.partition), partition.eof_offset);
            }
        }
    }
}

impl ConsumerContext for Ends {}
