//! The catalog as this daemon has it: shipped nodes with those of files and of the configuration.

mod load;

pub use self::load::{assign_services, load_catalog, load_local_catalog, toml_files};

#[cfg(test)]
mod tests {
    use onceover_catalog::{RunnerSpec, shipped::shipped};

    use crate::python::Service;

    #[test]
    fn shipped_nodes_are_read_and_each_has_its_builtin() {
        let catalog = shipped();
        for spec in catalog.iter() {
            if let RunnerSpec::Builtin(name) = &spec.runner {
                assert!(onceover_nodes::builtin(name).is_some(), "{name}");
            }
            assert!(!spec.title.is_empty() && !spec.purpose.is_empty(), "{}", spec.name);
            assert_eq!(spec.faults(), [""; 0], "{}", spec.name);
            assert!(spec.example.is_some(), "{} has no example", spec.name);
            Service::of(spec).unwrap();
            for field in &spec.reuse_fields {
                assert!(spec.outputs.iter().any(|output| output.name == *field), "{field}");
            }
            for parameter in &spec.parameters {
                assert!(!parameter.meaning.is_empty(), "{}.{}", spec.name, parameter.name);
            }
        }
    }
}
