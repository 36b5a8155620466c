/** Opens the object store that the configuration names. */
import { openDirectoryStore } from './directory.ts'
import type { ObjectStore, ObjectStoreSettings } from './object-store.ts'
import { openS3Store } from './s3/s3-store.ts'

export const openObjectStore = (settings: ObjectStoreSettings): ObjectStore =>
  settings.kind === 's3' ? openS3Store(settings) : openDirectoryStore(settings.directory)
