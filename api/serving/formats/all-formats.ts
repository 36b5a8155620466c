/** Lists the artifact formats, which the manifest selects. */
import type { ArtifactFormatName, Manifest } from '../../../domain/model/manifest.ts'
import { refuse } from '../network/layers-model.ts'
import type { ArtifactFormat } from './format.ts'
import { onnxFormat } from './onnx/format.ts'
import { layersFormat } from './tfjs-layers/format.ts'
import { treesFormat } from './trees/format.ts'

const formats: Readonly<Partial<Record<ArtifactFormatName, ArtifactFormat>>> = {
  'tfjs-layers': layersFormat,
  trees: treesFormat,
  onnx: onnxFormat,
}

/** Returns the format of an artifact. Throws `artifact_invalid` for a format that this release does not know. */
export function formatOf({ artifact = 'tfjs-layers' }: Pick<Manifest, 'artifact'>): ArtifactFormat {
  const found = Object.hasOwn(formats, artifact) ? formats[artifact] : undefined
  return found ?? refuse(`artifacts of the format ${JSON.stringify(artifact)} are not served`)
}

/** Returns the maximum bytes of a file of an artifact. Throws `artifact_invalid` for files that the format does not have. */
export function maxBytesOf(manifest: Pick<Manifest, 'artifact' | 'files'>, name: string): number {
  const { limits, fileSets, name: format } = formatOf(manifest)
  expectFileSet(Object.keys(manifest.files), { fileSets, name: format })
  return limits[name] ?? 0
}

/** Throws `artifact_invalid` unless these are exactly the files of an artifact of the format. */
export function expectFileSet(
  names: readonly string[],
  { name, fileSets }: Pick<ArtifactFormat, 'name' | 'fileSets'>,
): void {
  const isOne = fileSets.some(
    (set) => set.length === names.length && set.every((each) => names.includes(each)),
  )
  if (!isOne)
    refuse(
      `the artifact has the files ${names.join(', ') || 'none'}, one of ${name} has ${fileSets.map((set) => set.join(' and ')).join(', or ')}`,
    )
}
