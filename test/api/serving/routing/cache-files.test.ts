/** Tests which files a replica keeps on its disk: those of loaded and recently loaded versions. */
import { mkdtempSync, readdirSync, rmSync, utimesSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { openCache, type Cache } from '../../../../api/serving/routing/disk-cache.ts'
import { openArtifacts } from '../../../../store/artifacts.ts'
import { openSigner } from '../../../../store/signing/signing-key.ts'
import { irisSpec, putArtifact } from '../../../support/serving/artifact.ts'

let root: string
beforeEach(() => void (root = mkdtempSync(join(tmpdir(), 'tenure-cache-'))))
afterEach(() => rmSync(root, { recursive: true }))

const cacheOf = async (slot: string): Promise<Cache> =>
  openCache(join(root, 'cache'), openArtifacts(join(root, 'artifacts')), {
    signer: await openSigner({ keys: join(root, 'keys'), trust: join(root, 'keys') }, 'replicas'),
    slot,
  })
const artifactOf = (seed: number): Promise<string> =>
  putArtifact(join(root, 'artifacts'), irisSpec(`m${seed}`, seed))
const holding = (...digests: string[]) => ({
  models: [],
  routes: [],
  flags: [],
  fallbacks: [],
  versions: Object.fromEntries(
    digests.map((artifactDigest) => [artifactDigest, { model: 'm', artifactDigest, signature: '' }]),
  ),
})
const files = (): string[] =>
  readdirSync(join(root, 'cache', 'files', 'sha256'), { recursive: true, withFileTypes: true }).flatMap(
    (entry) => (entry.isFile() ? [join(entry.parentPath, entry.name)] : []),
  )
const age = (days: number): void => {
  const at = new Date(Date.now() - days * 86_400_000)
  for (const path of files()) utimesSync(path, at, at)
}

it('cached files that no process on this disk uses are deleted after a week', async () => {
  const [first, second, third] = [await artifactOf(1), await artifactOf(2), await artifactOf(3)]
  const [one, two] = [await cacheOf('1'), await cacheOf('2')]
  await one.fetch(first)
  await one.remember(holding(first))
  await two.fetch(second)
  await two.remember(holding(second))
  await one.fetch(third)
  const all = files().length
  age(6)
  await one.remember(holding(third))
  await one.forgetFiles()
  expect(files()).toHaveLength(all)
  age(8)
  await one.forgetFiles()
  // The weights of the first version; the networks of all three have the same shape.
  expect(files()).toHaveLength(all - 2)
  rmSync(join(root, 'artifacts'), { recursive: true })
  expect((await one.fetch(third)).manifest.model).toBe('m3')
  expect((await two.fetch(second)).manifest.model).toBe('m2')
  await expect(one.fetch(first)).rejects.toMatchObject({ code: 'artifact_corrupt' })
})
