/**
 * What a replica needs to answer without Postgres: the last routes it followed and the bytes of their versions, on its own
 * disk. Without it a restart during an outage of the database would turn a slow day into an outage of the predictions.
 */
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isError } from '../../domain/errors.ts'
import type { Manifest } from '../../domain/manifest.ts'
import { getManifest, openArtifacts, type Artifacts } from '../../store/artifacts.ts'
import { createHash } from 'node:crypto'

export interface Remembered {
  models: string[]
  /** As they stood in the table, to be checked again. */
  routes: unknown[]
  /** Version → digest of its manifest. */
  digests: Record<string, string>
}

export interface Cache {
  /** Nothing when there is none, or when its bytes have changed. */
  recall(): Promise<Remembered | undefined>
  remember(what: Remembered): Promise<void>
  /** The files of an artifact, from this disk or else from where artifacts are kept; each checked against its digest. */
  fetch(digest: string): Promise<{ manifest: Manifest; topology: Buffer; weights: Buffer }>
}

export function openCache(directory: string, artifacts: Artifacts): Cache {
  const own = openArtifacts(join(directory, 'files'))
  const path = join(directory, 'routing.json')
  const bytesOf = async (digest: string): Promise<Buffer> => {
    try {
      return await own.get('artifacts', digest)
    } catch (error) {
      if (!isError(error, 'artifact_corrupt')) throw error
    }
    const bytes = await artifacts.get('artifacts', digest)
    // A full disk here must not keep a version from being served.
    await own.put('artifacts', bytes).catch(() => {})
    return bytes
  }
  return {
    async recall() {
      const text = await readFile(path, 'utf8').catch(() => '')
      const at = text.indexOf('\n')
      if (at < 0 || hashOf(text.slice(at + 1)) !== text.slice(0, at)) return undefined
      return JSON.parse(text.slice(at + 1)) as Remembered
    },
    async remember(what) {
      const text = JSON.stringify(what)
      const partial = `${path}.${process.pid}`
      await mkdir(directory, { recursive: true })
      await writeFile(partial, `${hashOf(text)}\n${text}`, { mode: 0o600 })
      await rename(partial, path)
    },
    async fetch(digest) {
      const manifest = await getManifest({ ...own, get: (_area, each) => bytesOf(each) }, digest)
      const [topology, weights] = await Promise.all([
        bytesOf(manifest.files['model.json'].digest),
        bytesOf(manifest.files['weights.bin'].digest),
      ])
      return { manifest, topology, weights }
    },
  }
}

const hashOf = (text: string): string => createHash('sha256').update(text).digest('hex')
