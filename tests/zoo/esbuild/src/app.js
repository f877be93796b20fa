console.log("zoo");
