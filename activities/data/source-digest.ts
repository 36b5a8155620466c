/** Digests the source of a snapshot for its lineage: the queries and the bytes of the files. */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { resolve } from 'node:path'
import type { SourceDefinition } from '../../domain/model-definition.ts'
import { projectFolder } from '../../temporal.config.ts'
import { withCopiedFiles, type SourceCopies } from './source-copies.ts'
import { inspectFiles } from './source-files.ts'

/** Throws `source_unreadable` for a file that is missing or has another format. */
export async function digestOfSource(
  source: SourceDefinition,
  copies: SourceCopies = {},
): Promise<Record<string, unknown>> {
  await inspectFiles(withCopiedFiles(source, copies))
  const files: Record<string, { path: string; digest: string }> = {}
  for (const [name, path] of Object.entries(source.files)) {
    const hash = createHash('sha256')
    for await (const chunk of createReadStream(resolve(projectFolder, copies[path] ?? path)))
      hash.update(chunk as Buffer)
    files[name] = { path, digest: `sha256:${hash.digest('hex')}` }
  }
  return { kind: source.kind, files, rows: source.rows, ...(source.derive ? { derive: source.derive } : {}) }
}
