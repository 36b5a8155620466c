/**
 * Asks the golden rows of a version again that a server of others answers: nothing else shows that another model answers under the same
 * name, because servers tell no digest of it.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { isRemote } from '@tenure/predictors/format-names'
import { isUnanswered, reasonOf } from '../../domain/errors.ts'
import { findDifference } from '../../domain/model/golden-answers.ts'
import type { Manifest } from '../../domain/model/manifest.ts'
import { bringCopies } from '../../store/objects/artifact-copies.ts'
import { getVersion } from '../../store/registry/versions.ts'
import type { Deps } from '../deps.ts'
import { openArtifactReader, type ArtifactReader } from './reader.ts'

export interface GoldenWatch {
  /** Returns what the last answers have shown. Asks again, and waits a moment for it, so that a slow server delays no look. */
  look(): Promise<GoldenAnswers>
  close(): Promise<void>
}

export type GoldenAnswers =
  | 'same'
  /** No server of others answers the version. */
  | 'own'
  /** The server has given no answer yet. */
  | 'unknown'
  /** How the first answer that differs does so. */
  | { change: string }

/** How long a look waits. The first one also waits for the start of a process. */
const firstMs = 10_000
const waitMs = 500

/** Opens nothing for a version that is answered here. */
export async function openGoldenWatch(
  { store, artifacts, config, log }: Pick<Deps, 'store' | 'artifacts' | 'config' | 'log'>,
  version: string,
): Promise<GoldenWatch> {
  const { manifest, artifactDigest } = await getVersion(store, version)
  if (!isRemote(manifest)) return { look: () => Promise.resolve('own'), close: () => Promise.resolve() }
  await bringCopies(artifacts, { artifacts: [artifactDigest] })
  let reader: ArtifactReader | undefined
  let last: GoldenAnswers = 'unknown'
  let asking: Promise<void> | undefined
  let patienceMs = firstMs
  const close = async (): Promise<void> => {
    const closing = reader
    reader = undefined
    await closing?.close()
  }
  const ask = async (): Promise<void> => {
    try {
      reader ??= openArtifactReader(config.artifactRoot)
      last = compare(manifest, await reader.answer(manifest, manifest.golden.instances))
    } catch (error) {
      // Its requests show that it fails. The process may have died of another cause, and is started again.
      log.warn({ version, error: reasonOf(error) }, 'the golden rows could not be asked again')
      if (!isUnanswered(error)) await close()
    }
  }
  return {
    async look() {
      asking ??= ask().finally(() => (asking = undefined))
      await Promise.race([asking, pause(patienceMs, undefined, { ref: false })])
      patienceMs = waitMs
      return last
    },
    close,
  }
}

function compare(
  { golden, library = 'other server' }: Pick<Manifest, 'golden' | 'library'>,
  given: readonly (readonly number[])[],
): GoldenAnswers {
  const differing = findDifference(golden.outputs, given)
  if (differing === undefined) return 'same'
  const { row, output, found, expected } = differing
  return {
    change: `the ${library} answers differently than at its registration: golden row ${row} gives ${found} at output ${output}, it gave ${expected}`,
  }
}
