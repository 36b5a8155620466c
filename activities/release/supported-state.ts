/**
 * Reads what permits a step of a release, and replaces what the workflow claims by it. A client of Temporal can give an activity any
 * state; it has neither the database nor the signing key.
 */
import { supported, type ReleaseRecord } from '../../domain/release/permission.ts'
import type { ReleaseState } from '../../domain/release/state.ts'
import type { Database } from '../../store/postgres.ts'
import { findReleaseRecord } from '../../store/release/authority.ts'
import type { Deps } from '../deps.ts'
import { openVerifier } from '../runtime/open-verifier.ts'

export interface SupportedState {
  state: ReleaseState
  record: ReleaseRecord
}

/** Undefined for a release that no row knows: never opened, or lost with a backup that was restored. */
export async function supportedState(
  deps: Pick<Deps, 'verifier' | 'config'>,
  database: Database,
  given: ReleaseState,
): Promise<SupportedState | undefined> {
  const record = await findReleaseRecord(database, openVerifier(deps), given.id)
  return record && { state: supported(given, record), record }
}
