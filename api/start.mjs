// @ts-check
// Runs an API replica, compiled by scripts/build.
import { launch } from '../scripts/build/launch.mjs'

await launch('api/server.ts', process.argv.slice(2))
