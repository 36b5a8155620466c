#!/usr/bin/env node
// The command `certificate`: verifies the certificate of a release.
import { run } from './dist/command.js'

process.exitCode = run(process.argv.slice(2), (line) => process.stdout.write(`${line}\n`))
