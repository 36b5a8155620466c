/** Tests that a registration asks a model that is code whether it knows the texts of its categories, and that a request is answered in any case. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { withArtifactReader } from '../../activities/artifact/reader.ts'
import { storeForeign, type ForeignArtifact } from '../../activities/artifact/store-foreign.ts'
import { columnOf, columnTableOf } from '../../domain/model/columns.ts'
import { broughtFacts } from '../../domain/model/manifest.ts'
import type { ModelDefinition } from '../../domain/model-definition.ts'
import { getArtifact, openArtifacts } from '../../store/artifacts.ts'
import { pythonFile } from '../support/serving/python-file.ts'
import { pythonOrReason } from './packages.ts'

const found = await pythonOrReason('python-objects.txt')

it.skipIf('reason' in found)(
  'a model that compares a category with 3 is refused at its registration, and one that compares it with "3" is registered; both answer requests',
  async () => {
    const root = mkdtempSync(join(tmpdir(), 'tenure-values-'))
    onTestFinished(() => rmSync(root, { recursive: true }))
    const artifacts = openArtifacts(root)
    const { python = '', ...packages } = 'reason' in found ? {} : found.packages
    const features = { rooms: { kind: 'category' as const } }
    const rows = Array.from({ length: 40 }, (_, row) => ({ rooms: String(row % 5) }))
    const columns = [{ name: 'rooms', isText: true }]
    const stored = async (known: string) =>
      artifacts.put(
        'artifacts',
        pythonFile(`def answer(rows):\n    return (rows["rooms"] == ${known}) / 2`, {
          python,
          packages,
          columns,
          frames: true,
        }),
      )
    const output = { kind: 'probability' as const, positive: 'late', threshold: 0.5 }
    await withArtifactReader(root, async (reader) => {
      const register = async (known: string) =>
        storeForeign(artifacts, reader, {
          definition: { name: 'rooms', features, label: { output }, golden: [] },
          files: { 'model.python': await stored(known) },
          data: {
            ...columnTableOf(rows, ['rooms']),
            labels: [columnOf(rows.map((_, row) => row % 2))],
          },
          training: broughtFacts,
        } as unknown as ForeignArtifact & { definition: ModelDefinition })
      await expect(register('3')).rejects.toMatchObject({
        code: 'artifact_invalid',
        message: expect.stringMatching(
          /does not know the texts of rooms, and knows other values, such as 3 for "3": bring a serve.py/,
        ) as string,
      })
      const { manifest } = await getArtifact(artifacts, (await register('"3"')).artifactDigest)
      const request = [{ rooms: '3' }, { rooms: '2' }]
      expect(await reader.answer(manifest, request)).toEqual([[0.5], [0]])
      const files = { 'model.python': await stored('3') }
      expect(await reader.answer({ ...manifest, files }, request)).toEqual([[0], [0]])
    })
  },
)
