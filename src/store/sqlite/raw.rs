//! The table of reports, and that of what clients say of themselves.

use std::num::NonZeroUsize;

use lru::LruCache;
use rusqlite::{Connection, OptionalExtension, Result, Row, params};

use crate::store::journal::ReportId;
use crate::store::record::{Place, Record, net};
use crate::store::sqlite::ledger::{Before, address, ip_bytes};

/// Coordinates are kept as whole numbers of this part of a degree: 11 metres, as databases have them.
const FRACTION: f64 = 10_000.0;

const SUCCESS: u8 = 1;
const POLICY_REJECT: u8 = 2;
const TLS: u8 = 4;
const SHARED: u8 = 8;

/// Clients whose numbers are remembered.
const CLIENTS: NonZeroUsize = NonZeroUsize::new(4096).expect("not zero");

/// The numbers of clients, with the day that the table says they were seen last.
pub struct Clients(LruCache<(String, String), (i64, u32)>);

impl Default for Clients {
    fn default() -> Self {
        Clients(LruCache::new(CLIENTS))
    }
}

impl Clients {
    /// The number of what a client says of itself, in a report that comes in `today`; none if that is nothing.
    pub fn number(&mut self, file: &Connection, record: &Record, today: u32) -> Result<Option<i64>> {
        if record.device_id.is_empty() && record.device.is_empty() {
            return Ok(None);
        }
        let key = (record.device_id.to_string(), record.device.to_string());
        if let Some((id, day)) = self.0.get(&key)
            && *day >= today
        {
            return Ok(Some(*id));
        }
        let put = "INSERT INTO client (device_id, device, day) VALUES (?1, ?2, ?3)
            ON CONFLICT DO UPDATE SET day = max(day, excluded.day) RETURNING id, day";
        let put = &mut file.prepare_cached(put)?;
        let (id, day) = put.query_row(params![key.0, key.1, today], |row| Ok((row.get(0)?, row.get(1)?)))?;
        self.0.put(key, (id, day));
        Ok(Some(id))
    }

    /// After a transaction that has failed, no number is certain.
    pub fn forget(&mut self) {
        self.0.clear();
    }
}

/// Adds a report.
pub fn insert(
    file: &Connection,
    id: ReportId,
    login: i64,
    record: &Record,
    before: &Before,
    client: Option<i64>,
) -> Result<()> {
    let flag = |is_set, flag| if is_set { flag } else { 0 };
    let flags = flag(record.success, SUCCESS)
        | flag(record.policy_reject, POLICY_REJECT)
        | flag(record.tls, TLS)
        | flag(record.is_shared, SHARED);
    let place = &record.place;
    let degrees = |degrees: f64| (degrees * FRACTION).round() as i64;
    let mut insert = file.prepare_cached(
        "INSERT INTO raw VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17,
            ?18, ?19, ?20)",
    )?;
    insert.execute(params![
        id,
        record.t,
        login,
        record.ip.map(ip_bytes),
        flags,
        some(&record.protocol),
        some(&record.pwhash),
        some(&record.session_id),
        some(&record.fail_type),
        client,
        some(&place.country),
        some(&place.region),
        place.coordinates.map(|(latitude, _)| degrees(latitude)),
        place.coordinates.map(|(_, longitude)| degrees(longitude)),
        (place.radius > 0).then_some(place.radius),
        (place.asn > 0).then_some(place.asn),
        record.net.map(|net| net.prefix_len()),
        before.login,
        before.latest,
        before.ip,
    ])?;
    Ok(())
}

/// A text, unless it is empty: NULL takes no room.
fn some(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// A report as the table has it.
pub struct Stored {
    pub id: ReportId,
    /// None for a report of a login that was forgotten.
    pub record: Option<Record>,
    pub login_before: ReportId,
    pub latest: f64,
    pub ip_before: ReportId,
}

/// A statement that finds reports.
macro_rules! find {
    ($which:literal) => {
        concat!(
            "SELECT raw.id, t, name, ip, flags, protocol, pwhash, session_id, fail_type, device_id,
    device, country, region, latitude, longitude, radius, asn, net_bits, login_before, raw.latest, ip_before
    FROM raw LEFT JOIN login ON login.id = raw.login LEFT JOIN client ON client.id = raw.client",
            $which
        )
    };
}

/// One report, if it is still there.
pub fn find(file: &Connection, id: ReportId) -> Result<Option<Stored>> {
    let mut find = file.prepare_cached(find!(" WHERE raw.id = ?1"))?;
    find.query_row([id], stored).optional()
}

/// At most `limit` reports after the one with a number.
pub fn after(file: &Connection, id: ReportId, limit: u32) -> Result<Vec<Stored>> {
    let mut find = file.prepare_cached(find!(" WHERE raw.id > ?1 ORDER BY raw.id LIMIT ?2"))?;
    find.query_map(params![id, limit], stored)?.collect()
}

/// How many reports there are, and the time of the first. Their numbers have no gaps.
pub fn extent(file: &Connection) -> Result<(u64, Option<f64>)> {
    let first = file.query_row("SELECT id, t FROM raw ORDER BY id LIMIT 1", [], |row| {
        Ok((row.get::<_, ReportId>(0)?, row.get(1)?))
    });
    let Some((first, t)) = first.optional()? else { return Ok((0, None)) };
    Ok(((last(file)? - first + 1) as u64, Some(t)))
}

/// The number of the latest report, 0 without one.
pub fn last(file: &Connection) -> Result<ReportId> {
    file.query_row("SELECT coalesce(max(id), 0) FROM raw", [], |row| row.get(0))
}

fn stored(row: &Row) -> Result<Stored> {
    let (id, login_before, latest, ip_before) = (row.get(0)?, row.get(18)?, row.get(19)?, row.get(20)?);
    let record = row.get::<_, Option<String>>(2)?.map(|login| record(row, &login)).transpose()?;
    Ok(Stored { id, record, login_before, latest, ip_before })
}

fn record(row: &Row, login: &str) -> Result<Record> {
    let text = |at| Ok::<_, rusqlite::Error>(row.get_ref(at)?.as_str_or_null()?.unwrap_or_default().into());
    let flags: u8 = row.get(4)?;
    let ip = row.get_ref(3)?.as_blob_or_null()?.and_then(address);
    let coordinates = row.get::<_, Option<i64>>(13)?.zip(row.get::<_, Option<i64>>(14)?);
    let bits: Option<u8> = row.get(17)?;
    Ok(Record {
        t: row.get(1)?,
        login: login.into(),
        ip,
        success: flags & SUCCESS != 0,
        policy_reject: flags & POLICY_REJECT != 0,
        tls: flags & TLS != 0,
        protocol: text(5)?,
        pwhash: text(6)?,
        session_id: text(7)?,
        fail_type: text(8)?,
        device_id: text(9)?,
        device: text(10)?,
        place: Place {
            country: text(11)?,
            region: text(12)?,
            coordinates: coordinates.map(|(x, y)| (x as f64 / FRACTION, y as f64 / FRACTION)),
            radius: row.get::<_, Option<u16>>(15)?.unwrap_or_default(),
            asn: row.get::<_, Option<u32>>(16)?.unwrap_or_default(),
        },
        net: ip.zip(bits).and_then(|(ip, bits)| net(ip, (bits, bits))),
        is_shared: flags & SHARED != 0,
    })
}
