/** Lists the readers of the artifact formats, which the manifest or the first bytes of a file select. */
import { refuse } from '../errors.ts'
import { broughtLibraries, expectFileSet, formatNameOf, type ArtifactFormatName } from '../format-names.ts'
import type { ModelDescription } from '../features.ts'
import { endpointFormat } from './endpoint/format.ts'
import { headOf, refuseForeign } from './foreign.ts'
import type { ArtifactFormat } from './format.ts'
import { onnxFormat } from './onnx/format.ts'
import { layersFormat } from './tfjs-layers/format.ts'
import { pythonFormat } from './python/format.ts'
import { treesFormat } from './trees/format.ts'

/** The first that recognises a file reads it. */
const formats: Readonly<Record<ArtifactFormatName, ArtifactFormat>> = {
  endpoint: endpointFormat,
  'tfjs-layers': layersFormat,
  trees: treesFormat,
  onnx: onnxFormat,
  'python-object': pythonFormat,
}

/** Returns the format of an artifact. Throws `artifact_invalid` for a format that this release does not know. */
export function formatOf(manifest: Pick<ModelDescription, 'artifact'>): ArtifactFormat {
  const name = formatNameOf(manifest)
  if (!Object.hasOwn(formats, name)) refuse(`artifacts of the format ${JSON.stringify(name)} are not served`)
  return formats[name]
}

/**
 * Returns the name of a brought file in an artifact, by its first bytes, so that it needs no particular name. Throws `artifact_invalid`, with
 * the name of the format, for an unsupported one.
 */
export function fileNameOf(bytes: Uint8Array): string {
  const head = headOf(bytes)
  refuseForeign(bytes, head)
  for (const { recognises } of Object.values(formats)) {
    const name = recognises?.(head, bytes)
    if (name !== undefined) return name
  }
  return refuse(`the file is not a model of ${broughtLibraries}`)
}

/** Returns the maximum bytes of a file of an artifact. Throws `artifact_invalid` for files that the format does not have. */
export function maxBytesOf(
  manifest: Pick<ModelDescription, 'artifact'> & { files: Readonly<Record<string, unknown>> },
  name: string,
): number {
  const { limits } = formatOf(manifest)
  expectFileSet(Object.keys(manifest.files), formatNameOf(manifest))
  return limits[name] ?? 0
}
