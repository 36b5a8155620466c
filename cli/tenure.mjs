#!/usr/bin/env node
// @ts-check
// Runs the `tenure` command, compiled by cli/build.
import { launch } from './build/launch.mjs'

await launch('cli/tenure.ts', process.argv.slice(2))
