// @ts-check
// Runs an API replica, compiled by cli/build.
import { launch } from '../cli/build/launch.mjs'

await launch('api/server.ts', process.argv.slice(2))
