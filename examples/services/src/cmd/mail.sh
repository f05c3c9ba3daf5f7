hello mail
