/** Reads the paths of the server binaries that the set-up recorded. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { DomainError } from '../../domain/errors.ts'
import { checkout, setUpCommand } from '../../temporal.config.ts'

export interface Parts {
  /** Path of the Temporal CLI, which includes the development server. */
  temporal: string
  /** Path of the directory with Postgres' `bin`, `lib` and `share`. */
  postgres: string
}

export function readParts(root: string = checkout): Parts {
  try {
    return JSON.parse(readFileSync(join(root, 'node_modules', '.tenure', 'parts.json'), 'utf8')) as Parts
  } catch {
    throw new DomainError('configuration_invalid', `the servers are not installed: run \`${setUpCommand}\``)
  }
}
