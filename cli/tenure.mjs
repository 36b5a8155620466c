#!/usr/bin/env node
// @ts-check
// Runs the `tenure` command, compiled by scripts/build.
import { launch } from '../scripts/build/launch.mjs'

await launch('cli/tenure.ts', process.argv.slice(2))
