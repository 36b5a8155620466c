/**
 * Makes the file of a model in Python of a brought folder: resolves its requirements by making their environment, so that every replica
 * installs the same packages. Runs none of its code.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseDeclaredColumns } from '@tenure/predictors/features'
import type { BroughtArtifact } from '../../domain/model/brought-artifact.ts'
import { pythonFileOf, readBroughtCode } from '../../domain/model/brought-code.ts'
import type { ModelDefinition } from '../../domain/model-definition.ts'
import { parseJson } from '../../domain/parse-json.ts'
import { unpackCode } from '../../store/bundles/brought-code.ts'
import type { Deps } from '../deps.ts'
import { installPython, type Installing } from '../trainers/program.ts'

export interface AdoptedCode {
  /** The artifact with the file of the model in place of the folder. */
  brought: BroughtArtifact
  /** The resolved packages. */
  packages: Record<string, string>
}

/** Throws `environment_failed`, naming what cannot be installed, and `artifact_invalid`. */
export async function adoptCode(
  { artifacts, config, log }: Pick<Deps, 'artifacts' | 'config' | 'log'>,
  {
    definition,
    artifact,
    signal,
    onInstall,
  }: { definition: ModelDefinition; artifact: BroughtArtifact } & Omit<Installing, 'about'>,
): Promise<AdoptedCode> {
  const { digest, columns } = artifact
  const archive = await artifacts.get('artifacts', digest)
  const code = readBroughtCode(unpackCode(archive))
  const folder = await mkdtemp(join(tmpdir(), 'tenure-adopt-code-'))
  try {
    const requirements = join(folder, 'requirements.txt')
    await writeFile(requirements, code.requirements.map((line) => `${line}\n`).join(''))
    const { packages } = await installPython(
      { config, log },
      // Building a package would run its code.
      { requirements, interpreter: code.interpreter, onlyBuilt: true },
      { about: { model: definition.name }, signal, onInstall },
    )
    const declared =
      columns && parseDeclaredColumns(parseJson((await artifacts.get('artifacts', columns)).toString('utf8')))
    const file = pythonFileOf(archive, code, definition, { packages, declared: declared || undefined })
    const stored = await artifacts.put('artifacts', file)
    return { brought: { ...artifact, file: 'model.python', ...stored }, packages }
  } finally {
    await rm(folder, { recursive: true })
  }
}
