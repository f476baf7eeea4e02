//! A batch as the database takes it: in columns, each in the order in which every batch goes through the table, so that of two
//! batches none waits for one that waits for it.

use std::collections::{BTreeMap, HashMap};

use tokio_postgres::types::Type;
use uuid::Uuid;

use super::judge::{Judged, Stored};
use crate::{
    meta::{
        Record,
        postgres::{fault::Fault, locks, rows, transaction::Value},
    },
    model::Scope,
};

/// The records of a batch, and what they have in common.
pub(super) struct Batch<'r> {
    pub(super) lines: Vec<Line<'r>>,
    /// The scopes, in order.
    pub(super) orgs: Vec<&'r str>,
    pub(super) projects: Vec<&'r str>,
    /// The scopes' locks, in an order of their own.
    pub(super) locks: Vec<i64>,
    /// The place of its scope, and the text, of each path.
    paths: Vec<(usize, &'r str)>,
}

/// A record, with the places of its scope and its path within the batch.
pub(super) struct Line<'r> {
    pub(super) record: &'r Record,
    pub(super) scope: usize,
    pub(super) path: usize,
    /// In bytes; 0 unless it is to be stored.
    pub(super) size: i64,
}

impl<'r> Batch<'r> {
    pub(super) fn new(records: &'r [Record]) -> Result<Self, Fault> {
        let mut scopes: BTreeMap<&Scope, usize> =
            records.iter().map(|record| (&record.envelope.scope, 0)).collect();
        scopes.values_mut().enumerate().for_each(|(place, number)| *number = place);
        let mut locks: Vec<_> = scopes.keys().copied().map(locks::of_scope).collect();
        locks.sort_unstable();
        let (mut paths, mut places) = (Vec::new(), HashMap::new());
        let mut line = |record: &'r Record| {
            let scope = scopes.get(&record.envelope.scope).copied().unwrap_or_default();
            let text = record.envelope.path.as_str();
            let path = *places.entry((scope, text)).or_insert_with(|| {
                paths.push((scope, text));
                paths.len() - 1
            });
            let size = if record.failure.is_some() { 0 } else { rows::signed(record.seal.size)? };
            Ok(Line { record, scope, path, size })
        };
        let lines = records.iter().map(&mut line).collect::<Result<_, Fault>>()?;
        let orgs = scopes.keys().map(|scope| scope.org()).collect();
        let projects = scopes.keys().map(|scope| scope.project()).collect();
        Ok(Self { lines, orgs, projects, locks, paths })
    }

    /// How many paths there are.
    pub(super) fn path_count(&self) -> usize {
        self.paths.len()
    }

    /// What goes into the ledger. Of two records of one upload the first comes first.
    pub(super) fn uploads(&self, scopes: &[i64]) -> Uploads<'r> {
        let mut lines: Vec<_> = self.lines.iter().collect();
        lines.sort_by_key(|line| line.record.id);
        Uploads {
            ids: lines.iter().map(|line| line.record.id.into()).collect(),
            scopes: lines.iter().map(|line| number(scopes, line.scope)).collect(),
            sizes: lines.iter().map(|line| line.size).collect(),
            reasons: lines.iter().map(|line| line.record.failure).collect(),
        }
    }

    /// The scopes and texts of all paths.
    pub(super) fn paths(&self, scopes: &[i64]) -> (Vec<i64>, Vec<&'r str>) {
        self.paths.iter().map(|(scope, text)| (number(scopes, *scope), *text)).unzip()
    }

    /// What becomes an object.
    pub(super) fn objects(&self, scopes: &[i64], judged: &Judged) -> Result<Objects<'r>, Fault> {
        let mut stored: Vec<_> = judged
            .stored
            .iter()
            .filter_map(|Stored { line, version }| Some((self.lines.get(*line)?, *version)))
            .collect();
        stored.sort_by_key(|(line, version)| {
            (number(scopes, line.scope), line.record.envelope.path.as_str(), *version)
        });
        let mut objects = Objects::default();
        for (line, version) in stored {
            objects.push(line, number(scopes, line.scope), rows::signed(version)?);
        }
        Ok(objects)
    }

    /// What it adds to each scope that gets an object.
    pub(super) fn usage(&self, scopes: &[i64], judged: &Judged) -> Result<Added, Fault> {
        let mut added: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
        for line in judged.stored.iter().filter_map(|stored| self.lines.get(stored.line)) {
            let (objects, bytes) = added.entry(number(scopes, line.scope)).or_default();
            *objects += 1;
            *bytes = bytes.checked_add(line.size).ok_or_else(|| Fault::value("a batch of over 8 EiB"))?;
        }
        Ok(Added {
            scopes: added.keys().copied().collect(),
            objects: added.values().map(|(objects, _)| *objects).collect(),
            bytes: added.values().map(|(_, bytes)| *bytes).collect(),
        })
    }
}

/// The number of the scope at a place.
fn number(scopes: &[i64], place: usize) -> i64 {
    scopes.get(place).copied().unwrap_or_default()
}

/// Rows of the ledger.
pub(super) struct Uploads<'r> {
    pub(super) ids: Vec<Uuid>,
    pub(super) scopes: Vec<i64>,
    pub(super) sizes: Vec<i64>,
    pub(super) reasons: Vec<Option<&'r str>>,
}

/// Changes of usage.
pub(super) struct Added {
    pub(super) scopes: Vec<i64>,
    pub(super) objects: Vec<i64>,
    pub(super) bytes: Vec<i64>,
}

/// Rows of the objects.
#[derive(Default)]
pub(super) struct Objects<'r> {
    ids: Vec<Uuid>,
    scopes: Vec<i64>,
    paths: Vec<&'r str>,
    versions: Vec<i64>,
    sizes: Vec<i64>,
    crcs: Vec<i64>,
    shas: Vec<Option<&'r [u8]>>,
    types: Vec<&'r str>,
    sniffed: Vec<Option<&'r str>>,
}

impl<'r> Objects<'r> {
    fn push(&mut self, line: &Line<'r>, scope: i64, version: i64) {
        let Record { id, envelope, seal, .. } = line.record;
        self.ids.push((*id).into());
        self.scopes.push(scope);
        self.paths.push(envelope.path.as_str());
        self.versions.push(version);
        self.sizes.push(line.size);
        self.crcs.push(seal.digests.crc64nvme.0.cast_signed());
        self.shas.push(seal.digests.sha256.as_ref().map(|sha| sha.0.as_slice()));
        self.types.push(envelope.media_type(seal));
        self.sniffed.push(seal.sniffed_type.as_deref());
    }

    /// As the statement takes them, with the moment at which they are stored.
    pub(super) fn values<'a>(&'a self, at: &'a i64) -> [Value<'a>; 10] {
        [
            (&self.ids, Type::UUID_ARRAY),
            (&self.scopes, Type::INT8_ARRAY),
            (&self.paths, Type::TEXT_ARRAY),
            (&self.versions, Type::INT8_ARRAY),
            (&self.sizes, Type::INT8_ARRAY),
            (&self.crcs, Type::INT8_ARRAY),
            (&self.shas, Type::BYTEA_ARRAY),
            (&self.types, Type::TEXT_ARRAY),
            (&self.sniffed, Type::TEXT_ARRAY),
            (at, Type::INT8),
        ]
    }
}
