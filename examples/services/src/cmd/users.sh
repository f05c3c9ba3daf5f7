hello users
