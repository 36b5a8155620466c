/**
 * Replaces what the workflow state claims by what the database rows prove. A Temporal client can pass any state to an activity, but it
 * cannot write the database or sign with the keys of users.
 */
import { supported, type ReleaseRecord } from '../../domain/release/permission.ts'
import type { ReleaseState } from '../../domain/release/state.ts'
import type { Database } from '../../store/postgres.ts'
import { findReleaseRecord } from '../../store/release/releases.ts'
import type { Deps } from '../deps.ts'
import { openVerifier } from '../runtime/open-verifier.ts'

export interface SupportedState {
  state: ReleaseState
  record: ReleaseRecord
}

/** Undefined for a release without a row: never opened, or lost in the restore of a backup. */
export async function supportedState(
  deps: Pick<Deps, 'verifier' | 'config'>,
  database: Database,
  given: ReleaseState,
): Promise<SupportedState | undefined> {
  const record = await findReleaseRecord(database, openVerifier(deps), given.id)
  return record && { state: supported(given, record), record }
}
