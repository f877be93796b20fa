setInterval(() => console.log("at work"), 60_000); console.log("ready");
