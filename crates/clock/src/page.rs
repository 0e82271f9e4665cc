//! The places of the records in the vvar pages, and their names there.

use crate::clocks::Clock;
use crate::record::Record;
use vdsokit_vvar::directory::Variable;
use vdsokit_vvar::latch;
use vdsokit_vvar::layout::{Cursor, LATCH_ALIGN, Shape, Type};
use vdsokit_vvar::scalar::ScalarType;

/// The link of a clock image that delivery fills with the address of a word of the process's own,
/// in which the process counts its reads of clocks: the ticks of [`crate::Source::Reads`].
pub const READS: &str = "vdsokit_reads";

/// The size of a record in bytes.
pub const RECORD_SIZE: usize = Record::WORDS * 8;

/// The offset of the nth variable: first all records, then all sources.
const fn place(nth: usize) -> usize {
    let mut cursor = Cursor::PAGES;
    let mut place = 0;
    let mut at = 0;
    while at <= nth {
        place = if at < Clock::RECORDS {
            cursor.place(latch::size_of(RECORD_SIZE), LATCH_ALIGN)
        } else {
            cursor.place(8, 8)
        };
        at += 1;
    }
    place
}

/// The distance in bytes between the records of two successive clocks.
pub const STRIDE: usize = place(1) - place(0);

/// The offset of the latch of a clock's record: the clock's number is its index.
#[inline(always)]
pub const fn record_offset(id: u32) -> usize {
    const FIRST: usize = place(0);
    FIRST + id as usize * STRIDE
}

/// The offset of a copy of a clock's source, a scalar behind all records. A reader
/// loads it first, so that it can begin before it has read the latch. It may be older
/// or newer than the record, whose own word is the valid one.
///
/// The sources lie side by side, so that an address takes nothing but the clock's number.
#[inline(always)]
pub const fn source_offset(id: u32) -> usize {
    const FIRST: usize = place(Clock::RECORDS);
    FIRST + id as usize * 8
}

/// The number of bytes in use, with the header. It fits into a page of the smallest size.
pub const SIZE: usize = source_offset(Clock::RECORDS as u32 - 1) + 8;

const _: () = {
    assert!(SIZE <= vdsokit_vvar::PAGE_SIZE);
    let mut id = 0;
    while id < Clock::RECORDS as u32 {
        let nth = id as usize;
        assert!(place(nth) == record_offset(id));
        assert!(place(Clock::RECORDS + nth) == source_offset(id));
        id += 1;
    }
};

/// The name of the record of the clock with this number.
pub const fn record_name(id: u32) -> &'static str {
    NAMES[id as usize].0
}

/// The name of the source of the clock with this number.
pub const fn source_name(id: u32) -> &'static str {
    NAMES[id as usize].1
}

/// The variables of a clock image, for its directory: a record for each number, then a source for
/// each. A record is an array of words and not a struct: the names of its fields would take more
/// space than the code.
pub const VARIABLES: [Variable<'static>; 2 * Clock::RECORDS] = {
    let mut variables = [source_variable("", ""); 2 * Clock::RECORDS];
    let mut id = 0;
    while id < Clock::RECORDS {
        let (record, source, doc) = NAMES[id];
        variables[id] = Variable {
            name: record,
            unit: "",
            doc,
            version: "",
            shape: Shape::Plain(Type::Array(ScalarType::U64, Record::WORDS as u32)),
        };
        variables[Clock::RECORDS + id] = source_variable(source, "where its time comes from");
        id += 1;
    }
    variables
};

const fn source_variable(name: &'static str, doc: &'static str) -> Variable<'static> {
    Variable {
        name,
        unit: "",
        doc,
        version: "",
        shape: Shape::Plain(Type::Scalar(ScalarType::U64)),
    }
}

/// The names of a record and of its source, and the clock.
const NAMES: [(&str, &str, &str); Clock::RECORDS] = [
    ("realtime", "realtime_source", "CLOCK_REALTIME"),
    ("monotonic", "monotonic_source", "CLOCK_MONOTONIC"),
    ("clock_2", "clock_2_source", "not used"),
    ("clock_3", "clock_3_source", "not used"),
    ("raw", "raw_source", "CLOCK_MONOTONIC_RAW"),
    (
        "realtime_coarse",
        "realtime_coarse_source",
        "CLOCK_REALTIME_COARSE",
    ),
    (
        "monotonic_coarse",
        "monotonic_coarse_source",
        "CLOCK_MONOTONIC_COARSE",
    ),
    ("boottime", "boottime_source", "CLOCK_BOOTTIME"),
    (
        "realtime_alarm",
        "realtime_alarm_source",
        "CLOCK_REALTIME_ALARM",
    ),
    (
        "boottime_alarm",
        "boottime_alarm_source",
        "CLOCK_BOOTTIME_ALARM",
    ),
    ("clock_10", "clock_10_source", "not used"),
    ("tai", "tai_source", "CLOCK_TAI"),
];
