/** The options of a connection to Postgres. Dates are always in ISO, because the driver reads other styles as null. */
import pg from 'pg'

const isoDates = '-c datestyle=ISO'

/**
 * The address of a connection, and its options: those of the address or of PGOPTIONS, and dates in ISO. A database or role may write dates
 * in another style, which the driver reads as null and another server with day and month exchanged. The driver would prefer the options of
 * the address, so the address that is returned has none.
 */
export function withIsoDates(url: string): { connectionString: string; options: string } {
  const [address = '', query = ''] = url.split(/\?(.*)/s)
  const parameters = new URLSearchParams(query)
  const own = parameters.get('options')
  if (own !== null) parameters.delete('options')
  const rest = parameters.size === 0 ? '' : `?${parameters.toString()}`
  return {
    connectionString: own === null ? url : address + rest,
    options: `${own || optionsOfEnvironment()} ${isoDates}`.trim(),
  }
}

/** PGOPTIONS, as the driver reads it where a connection has no options. */
function optionsOfEnvironment(): string {
  const { connectionParameters } = new pg.Client({}) as unknown as {
    connectionParameters: { options?: string }
  }
  return connectionParameters.options ?? ''
}
