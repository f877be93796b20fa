import { Controller, Get, Module } from "@nestjs/common";
import { NestFactory } from "@nestjs/core";

@Controller()
class Zoo {
  @Get()
  hello() {
    return "zoo";
  }
}

@Module({ controllers: [Zoo] })
class App {}

NestFactory.create(App).then((app) => app.listen(process.env.PORT ?? 3000));
