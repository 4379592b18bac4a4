//! The policies that the program brings along, which share/policies has for people to read and copy.

/// A policy by its name.
pub struct Shipped {
    pub name: &'static str,
    pub text: &'static str,
    /// Whether it is one of the set "standard".
    pub is_standard: bool,
}

macro_rules! shipped {
    ($($name:literal $is_standard:literal),* $(,)?) => {
        &[$(Shipped {
            name: $name,
            text: include_str!(concat!("../../../share/policies/", $name, ".lua")),
            is_standard: $is_standard,
        }),*]
    };
}

/// All of them, in the order in which a set uses them.
pub static SHIPPED: &[Shipped] = shipped![
    "stale_client" true,
    "new_country" true,
    "new_device" false,
    "impossible_travel" true,
    "success_after_failures" true,
    "success_from_attacker" true,
    "password_changed_elsewhere" false,
    "dormant_account" true,
    "multi_country" false,
    "password_spray" true,
    "credential_stuffing" true,
    "user_enumeration" false,
    "account_brute_force" true,
    "distributed_attack" true,
    "persistent_source" true,
    "volume_anomaly" false,
    "feed_loss" true,
    "backend_outage" true,
];

/// A policy that is shipped.
pub fn find(name: &str) -> Option<&'static Shipped> {
    SHIPPED.iter().find(|policy| policy.name == name)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_file_is_one_of_them() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("share/policies");
        let files = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<String> =
            files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        let mut expected: Vec<String> = SHIPPED.iter().map(|policy| format!("{}.lua", policy.name)).collect();
        names.sort();
        expected.sort();
        assert_eq!(names, expected);
    }
}
