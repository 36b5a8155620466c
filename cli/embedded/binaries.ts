/**
 * Where the set-up put the servers' binaries. The set-up writes this down once, so that no running process has to
 * repeat its search through PATH, environment and cache, and come to another answer.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { DomainError } from '../../domain/errors.ts'
import { checkout } from '../../temporal.config.ts'

export interface Parts {
  /** The Temporal CLI, which holds the development server. */
  temporal: string
  /** The directory with Postgres' `bin`, `lib` and `share`. */
  postgres: string
}

export function readParts(root: string = checkout): Parts {
  try {
    return JSON.parse(readFileSync(join(root, 'node_modules', '.tenure', 'parts.json'), 'utf8')) as Parts
  } catch {
    throw new DomainError('configuration_invalid', 'the servers are not set up yet: run `npm run setup`')
  }
}
