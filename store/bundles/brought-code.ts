/** Packs and unpacks the folder of a brought version that is code, as a tar. */
import { codeLimits } from '../../domain/model/brought-code.ts'
import { DomainError } from '../../domain/errors.ts'
import { readTar, writeTar, type TarEntries } from './bundle.ts'

/** Equal files give equal bytes. */
export const packCode = (files: TarEntries): Buffer =>
  writeTar(new Map([...files].sort(([a], [b]) => (a < b ? -1 : 1))), new Date(0))

/** Throws `artifact_invalid` for an archive that is damaged, too large, or has a name that leads out of its folder. */
export const unpackCode = (archive: Buffer): TarEntries =>
  readTar(archive, {
    limits: codeLimits,
    refuse(why) {
      throw new DomainError('artifact_invalid', `the archive of a folder cannot be used: ${why}`)
    },
  })
