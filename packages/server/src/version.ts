/** Version of this package. A tidy test holds it against package.json. */
export const SERVER_VERSION = '0.1.0'
