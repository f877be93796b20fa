document.body.append("zoo");
