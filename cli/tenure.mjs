#!/usr/bin/env node
// @ts-check
// The `tenure` command. It only makes Node able to read TypeScript, wherever the caller's directory is.
import { register } from 'tsx/esm/api'

register()
await import('./tenure.ts')
