/**
 * What the API uses of Temporal's client, named. Where the sources are put together into one file, a package that is loaded
 * late comes without its names: only what is imported by name has them.
 */
export { Client, Connection } from '@temporalio/client'
