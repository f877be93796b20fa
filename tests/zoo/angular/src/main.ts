import { Component } from "@angular/core";
import { bootstrapApplication } from "@angular/platform-browser";

@Component({ selector: "zoo-root", template: "<h1>zoo</h1>" })
class Root {}

bootstrapApplication(Root);
