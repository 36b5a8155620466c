/** Copies the artifacts of a backup to the artifact store and verifies each by its digest. */
import { createWriteStream } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Artifacts } from '../../store/artifacts.ts'
import { openSharedArtifacts } from '../../store/objects/artifact-copies.ts'
import type { Config } from '../../temporal.config.ts'
import type { BackupManifest } from './manifest.ts'
import type { Archive } from './read-archive.ts'

/** Returns the number of copied artifacts. */
export async function restoreArtifacts(
  archive: Archive,
  { entries }: BackupManifest,
  { config, onProgress }: { config: Config; onProgress: ((what: string) => void) | undefined },
): Promise<number> {
  const artifacts = openSharedArtifacts(config)
  await mkdir(config.artifactRoot, { recursive: true, mode: 0o700 })
  const names = Object.keys(entries).filter((name) => /^(artifacts|snapshots)\/[0-9a-f]{64}$/.test(name))
  for (const [index, name] of names.entries()) {
    onProgress?.(`artifact ${index + 1} of ${names.length}`)
    const [area, hex] = name.split('/') as ['artifacts' | 'snapshots', string]
    await restoreArtifact(archive, artifacts, { name, area, digest: `sha256:${hex}` })
  }
  return names.length
}

async function restoreArtifact(
  archive: Archive,
  artifacts: Artifacts,
  { name, area, digest }: { name: string; area: 'artifacts' | 'snapshots'; digest: string },
): Promise<void> {
  const there = await artifacts.locate(area, digest).catch(() => undefined)
  if (there !== undefined) return artifacts.share(area, digest)
  const draft = await artifacts.draft(area === 'snapshots' ? '.parquet' : '')
  await pipeline(Readable.from(archive.read(name)), createWriteStream(draft, { mode: 0o600 }))
  const taken = await artifacts.take(area, draft)
  if (taken.digest !== digest) throw new Error(`${name} has the digest ${taken.digest}`)
}
