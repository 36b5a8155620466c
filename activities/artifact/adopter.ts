/**
 * Makes an artifact of a file that was trained elsewhere. The training rows give its profile and golden rows. Runs in a child process.
 */
import type { ModelDefinition } from '../../domain/model-definition.ts'
import type { BroughtArtifact } from '../../domain/model/brought-artifact.ts'
import { parseDeclaredColumns } from '../../domain/model/declared-columns.ts'
import { parseJson } from '../../domain/parse-json.ts'
import { broughtFacts } from '../../domain/model/manifest.ts'
import { getManifest, openArtifacts } from '../../store/artifacts.ts'
import { readPart } from '../data/rows.ts'
import { takeJob, whileAlive } from '../runtime/child-protocol.ts'
import { withArtifactReader } from './reader.ts'
import { storeBundled } from './store-bundled.ts'
import { storeForeign, type StoredForeign } from './store-foreign.ts'

export interface AdopterJob {
  definition: ModelDefinition
  snapshotDigest: string
  artifactRoot: string
  brought: BroughtArtifact
}

const maxColumnsBytes = 16_777_216

async function adopt({
  definition,
  snapshotDigest,
  artifactRoot,
  brought,
}: AdopterJob): Promise<StoredForeign> {
  const artifacts = openArtifacts(artifactRoot)
  const { file, digest, bytes, columns, trainedOn, allowUnknownCategories, bundle } = brought
  const path = await artifacts.locate('snapshots', snapshotDigest)
  const data = await readPart(path, 'train', {
    names: Object.keys(definition.features),
    output: definition.label.output,
  })
  if (bundle !== undefined)
    return withArtifactReader(artifactRoot, async (reader) =>
      storeBundled(artifacts, reader, {
        definition,
        manifest: await getManifest(artifacts, digest),
        data,
        bundle,
      }),
    )
  const declared =
    columns === undefined
      ? undefined
      : parseDeclaredColumns(
          parseJson((await artifacts.get('artifacts', columns, maxColumnsBytes)).toString('utf8')),
        )
  return withArtifactReader(artifactRoot, (reader) =>
    storeForeign(artifacts, reader, {
      definition,
      files: { [file]: { digest, bytes } },
      declared,
      order: definition.featureOrder,
      data,
      training: {
        ...broughtFacts,
        hyperparameters: {},
        trainedOn,
        allowUnknownCategories,
      },
    }),
  )
}

takeJob<AdopterJob, never, StoredForeign>((job, parent) => whileAlive(parent, () => adopt(job)))
