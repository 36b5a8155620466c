// @ts-check
// Runs a TypeScript file of the checkout as a process: `node cli/launch.mjs activities/worker.ts control`.
import { launch } from './build/launch.mjs'

const [source, ...args] = process.argv.slice(2)
if (source === undefined) throw new Error('Name a source file: node cli/launch.mjs <file.ts> [arguments]')
await launch(source, args)
