/**
 * Re-exports the parts of Temporal's SDK that the API uses. A package that is imported dynamically into a bundle loses its names unless
 * they are imported here.
 */
export { Client, Connection } from '@temporalio/client'
export { requireReadablePayloads } from '../../workflows/client/payload-check.ts'
export { dataConverterOf } from '../../workflows/client/payload-codec.ts'
