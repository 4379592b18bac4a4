//! How far two points are from each other.

/// Of a sphere as large as the Earth, in kilometres (IUGG, mean radius R1).
const RADIUS: f64 = 6371.0088;

/// The great-circle distance in kilometres between two points, each a latitude and a longitude in degrees,
/// by the haversine formula, which is exact for near points as well.
pub fn distance_km((lat1, lon1): (f64, f64), (lat2, lon2): (f64, f64)) -> f64 {
    let (lat1, lat2) = (lat1.to_radians(), lat2.to_radians());
    let haversine = |angle: f64| (angle / 2.0).sin().powi(2);
    let h = haversine(lat2 - lat1) + lat1.cos() * lat2.cos() * haversine((lon2 - lon1).to_radians());
    2.0 * RADIUS * h.min(1.0).sqrt().asin()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_an_atlas() {
        let (berlin, paris, sydney) = ((52.52, 13.405), (48.857, 2.352), (-33.869, 151.209));
        for (a, b, km) in [
            (berlin, berlin, 0.0),
            (berlin, paris, 878.0),
            (paris, berlin, 878.0),
            (berlin, sydney, 16_094.5),
            ((0.0, 179.5), (0.0, -179.5), 111.0),
            ((90.0, 0.0), (-90.0, 0.0), 20_015.0),
        ] {
            assert!((distance_km(a, b) - km).abs() < 3.0, "{a:?} {b:?}: {}", distance_km(a, b));
        }
    }
}
