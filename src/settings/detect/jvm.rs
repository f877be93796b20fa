//! Phoenix, Spring Boot, Quarkus and ASP.NET: frameworks of other languages with a server for development.

use super::ground::Ground;
use super::{Candidate, Found};

pub(super) fn find(ground: &Ground) -> Found {
    Found::of(phoenix(ground).or_else(|| maven(ground)).or_else(|| gradle(ground)).or_else(|| dotnet(ground)))
}

fn phoenix(ground: &Ground) -> Option<Candidate> {
    let is_phoenix = ground.text("mix.exs")?.contains(":phoenix");
    is_phoenix.then(|| Candidate::new("web", "mix phx.server", ground, "mix.exs names Phoenix".to_owned()))
}

fn maven(ground: &Ground) -> Option<Candidate> {
    let text = ground.text("pom.xml")?;
    let program = if ground.has("mvnw") { "./mvnw" } else { "mvn" };
    let (task, name) = task_of(&text, "spring-boot:run", "quarkus:dev")?;
    Some(Candidate::new("web", &format!("{program} {task}"), ground, format!("pom.xml names {name}")))
}

fn gradle(ground: &Ground) -> Option<Candidate> {
    let file = ground.first(&["build.gradle", "build.gradle.kts"])?;
    let text = ground.text(file)?;
    let program = if ground.has("gradlew") { "./gradlew" } else { "gradle" };
    let (task, name) = task_of(&text, "bootRun", "quarkusDev")?;
    Some(Candidate::new("web", &format!("{program} {task}"), ground, format!("{file} names {name}")))
}

fn task_of(text: &str, spring: &'static str, quarkus: &'static str) -> Option<(&'static str, &'static str)> {
    if text.contains("spring-boot") || text.contains("org.springframework.boot") {
        return Some((spring, "Spring Boot"));
    }
    text.contains("quarkus").then_some((quarkus, "Quarkus"))
}

fn dotnet(ground: &Ground) -> Option<Candidate> {
    let project = ground.entries().iter().find(|e| e.name.ends_with(".csproj") || e.name.ends_with(".fsproj"))?;
    let file = project.name.clone();
    let is_web = ground.text(&file)?.contains("Microsoft.NET.Sdk.Web");
    // A profile would fix the port.
    let line = "dotnet run --no-launch-profile";
    let candidate = is_web.then(|| Candidate::new("web", line, ground, format!("{file} is a web project")))?;
    Some(candidate.variables([("ASPNETCORE_ENVIRONMENT".to_owned(), "Development".to_owned())]))
}
